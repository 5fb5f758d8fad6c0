import { describe, expect, it } from 'vitest'
import type { Digest } from '../domain/ids.ts'
import { argumentsOf, environmentOf, type TrivyOptions, targetsOf } from './trivy-command.ts'

const OPTIONS: TrivyOptions = {
  program: null,
  searchPath: '/usr/bin',
  cacheDirectory: '/data/trivy',
  server: null,
  databaseRepositories: [],
  javaDatabaseRepositories: [],
  isOffline: false,
  timeoutMs: 600_000,
  engine: { DOCKER_HOST: 'unix:///run/podman/podman.sock' },
}
const USUAL = { inMemory: false, skipUpdate: false }
const ID = `sha256:${'5e'.repeat(32)}` as Digest
const image = (reference: string) => ({ kind: 'image', digest: ID, reference, command: null, exposedPorts: [] }) as const
const tree = { kind: 'tree', digest: ID, files: 1, bytes: 1 } as const

function argsFor(artifact: Parameters<typeof targetsOf>[0], options: Partial<TrivyOptions> = {}, variant = USUAL): string[] {
  const [target] = targetsOf(artifact, '/trees/a', null)
  if (target === undefined) throw new Error('no target')
  return argumentsOf(target, { ...OPTIONS, ...options }, variant)
}

it('an image is asked of the engine by its id, and never looked for on a hub under that name', () => {
  expect(argsFor(image('shop/api:build'))).toEqual([
    'image',
    ...['--format', 'json', '--scanners', 'vuln', '--list-all-pkgs', '--exit-code', '0', '--no-progress'],
    ...['--timeout', '600s', '--cache-dir', '/data/trivy', '--image-src', 'docker', '--cache-backend', 'fs'],
    ID,
  ])
})

it('an image named by digest may come from its registry too', () => {
  const args = argsFor(image(`registry.example.com/shop/api@${ID}`))
  expect(args.slice(-5)).toEqual(['--image-src', 'docker,remote', '--cache-backend', 'fs', `registry.example.com/shop/api@${ID}`])
  expect(argsFor(image(`registry.example.com/shop/api@${ID}`), { engine: null })).toContain('remote')
})

it('of a tree both what it says it needs and what is there are looked at, and its runtime layer', () => {
  expect(targetsOf(tree, '/trees/a', '/layers/b')).toEqual([
    { command: 'fs', directory: '/trees/a' },
    { command: 'rootfs', directory: '/trees/a' },
    { command: 'rootfs', directory: '/layers/b' },
  ])
  expect(argsFor(tree).at(-1)).toBe('/trees/a')
})

describe('databases', () => {
  it('come from where the owner says', () => {
    const args = argsFor(tree, {
      databaseRepositories: ['a.example.com/db:2', 'b.example.com/db:2'],
      javaDatabaseRepositories: ['a.example.com/java'],
    })
    expect(args.join(' ')).toContain(
      '--db-repository a.example.com/db:2 --db-repository b.example.com/db:2 --java-db-repository a.example.com/java',
    )
  })

  it('are not fetched offline', () => {
    expect(argsFor(tree, { isOffline: true })).toEqual(
      expect.arrayContaining(['--skip-db-update', '--skip-java-db-update', '--offline-scan']),
    )
  })

  it('are the matter of a Trivy server, where there is one', () => {
    const args = argsFor(image('a'), { server: { url: 'http://trivy:4954', token: null }, databaseRepositories: ['a.example.com/db'] })
    expect(args).toEqual(expect.arrayContaining(['--server', 'http://trivy:4954']))
    expect(args.join(' ')).not.toMatch(/--db-repository|--cache-backend|--skip-db-update/)
  })
})

it('I8: the token stands in the environment, never on the command line; nothing else of ours is handed over', () => {
  const options = { ...OPTIONS, server: { url: 'http://trivy:4954', token: 'very-secret-token' } }
  expect(argsFor(image('a'), options).join(' ')).not.toContain('very-secret-token')
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
