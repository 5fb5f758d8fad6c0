import { describe, expect, it } from 'vitest'
import { argumentsOf, environmentOf, imageTarget, type TrivyOptions, type TrivyTarget, treeTargets } from './trivy-command.ts'

const OPTIONS: TrivyOptions = {
  program: null,
  searchPath: '/usr/bin',
  cacheDirectory: '/data/trivy',
  server: null,
  databaseRepositories: [],
  javaDatabaseRepositories: [],
  isOffline: false,
  timeoutMs: 600_000,
  engine: { environment: { DOCKER_HOST: 'unix:///run/podman/podman.sock' }, findImage: async () => null },
}
const USUAL = { inMemory: false, skipUpdate: false, skipJava: false }
const ID = `sha256:${'5e'.repeat(32)}`
const IMAGE: TrivyTarget = { command: 'image', name: ID, source: 'docker' }
const TREE: TrivyTarget = { command: 'fs', directory: '/trees/a' }

function argsFor(target: TrivyTarget, options: Partial<TrivyOptions> = {}, variant = USUAL): string[] {
  return argumentsOf(target, { ...OPTIONS, ...options }, variant)
}

it('an image is asked of the engine by its id, and of nobody else', () => {
  expect(imageTarget({ reference: 'shop/api:build' }, ID)).toEqual(IMAGE)
  expect(argsFor(IMAGE)).toEqual([
    'image',
    ...['--format', 'json', '--scanners', 'vuln', '--list-all-pkgs', '--exit-code', '0', '--no-progress'],
    ...['--timeout', '600s', '--cache-dir', '/data/trivy', '--image-src', 'docker', '--cache-backend', 'fs'],
    ID,
  ])
})

it('an image that no engine here has comes from its registry by digest, never by a tag', () => {
  const reference = `registry.example.com/shop/api@${ID}`
  expect(imageTarget({ reference }, null)).toEqual({ command: 'image', name: reference, source: 'remote' })
  expect(argsFor({ command: 'image', name: reference, source: 'remote' }).slice(-5)).toEqual([
    ...['--image-src', 'remote', '--cache-backend', 'fs', reference],
  ])
  expect(imageTarget({ reference: 'shop/api:build' }, null)).toBeNull()
})

it('of a tree both what it says it needs and what is there are looked at, and its runtime layer', () => {
  expect(treeTargets('/trees/a', '/layers/b')).toEqual([
    { command: 'fs', directory: '/trees/a' },
    { command: 'rootfs', directory: '/trees/a' },
    { command: 'rootfs', directory: '/layers/b' },
  ])
  expect(argsFor(TREE).at(-1)).toBe('/trees/a')
  expect(argsFor(TREE)).not.toContain('--cache-backend')
})

describe('databases', () => {
  it('come from where the owner says', () => {
    const args = argsFor(TREE, {
      databaseRepositories: ['a.example.com/db:2', 'b.example.com/db:2'],
      javaDatabaseRepositories: ['a.example.com/java'],
    })
    expect(args.join(' ')).toContain(
      '--db-repository a.example.com/db:2 --db-repository b.example.com/db:2 --java-db-repository a.example.com/java',
    )
  })

  it('are not fetched offline', () => {
    expect(argsFor(TREE, { isOffline: true })).toEqual(
      expect.arrayContaining(['--skip-db-update', '--skip-java-db-update', '--offline-scan']),
    )
  })

  it('are the matter of a Trivy server, where there is one', () => {
    const args = argsFor(IMAGE, { server: { url: 'http://trivy:4954', token: null }, databaseRepositories: ['a.example.com/db'] })
    expect(args).toEqual(expect.arrayContaining(['--server', 'http://trivy:4954']))
    expect(args.join(' ')).not.toMatch(/--db-repository|--cache-backend|--skip-db-update/)
  })
})

it('I8: the token stands in the environment, never on the command line; nothing else of ours is handed over', () => {
  const options = { ...OPTIONS, server: { url: 'http://trivy:4954', token: 'very-secret-token' } }
  expect(argsFor(IMAGE, options).join(' ')).not.toContain('very-secret-token')
  expect(environmentOf(options, '/work')).toEqual({
    PATH: '/usr/bin',
    HOME: '/data/trivy',
    TMPDIR: '/work',
    LC_ALL: 'C.UTF-8',
    TRIVY_DISABLE_TELEMETRY: 'true',
    TRIVY_SKIP_VERSION_CHECK: 'true',
    TRIVY_TOKEN: 'very-secret-token',
    DOCKER_HOST: 'unix:///run/podman/podman.sock',
  })
})
