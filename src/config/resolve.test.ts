// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import { LIMITS } from '../core/limits.ts'
import { DEFAULTS } from './defaults.ts'
import { listServices, type ResolveRequest, resolveService } from './resolve.ts'

async function source(files: Readonly<Record<string, string>>): Promise<string> {
  const root = temporaryDirectory()
  for (const [path, content] of Object.entries(files)) {
    await mkdir(dirname(join(root, path)), { recursive: true })
    await writeFile(join(root, path), content)
  }
  return root
}

async function resolve(files: Readonly<Record<string, string>>, request: Partial<ResolveRequest> = {}) {
  return resolveService({ directory: await source(files), serviceName: null, configPath: null, rootDirectory: null, ...request })
}

const ONE = 'services:\n  api:\n    build: { buildCommands: make }\n    run: { start: ./api }\n'
const TWO = `${ONE}  worker:\n    build: { image: busybox }\n`

describe('the example of the documentation', () => {
  it('resolves DESIGN.md §5 completely', async () => {
    const example = await readFile(new URL('./fixtures/design-example.yaml', import.meta.url), 'utf8')
    const { config, origin, detected } = await resolve({ 'shiplock.yaml': example })
    expect(origin).toBe('shiplock.yaml')
    expect(detected).toEqual([])
    expect(config).toMatchObject({
      name: 'api',
      build: { kind: 'dockerfile', dockerfile: 'Dockerfile', context: '.', timeoutMs: 900_000 },
      scan: { waivers: [{ id: 'CVE-2026-1', expires: '2027-01-01' }] },
      run: {
        startCommands: ['node dist/server.js'],
        port: 8080,
        instances: 2,
        regions: ['iad'],
        env: { LOG_LEVEL: 'info' },
        healthCheck: { probe: { kind: 'httpGet', path: '/healthz', expectStatus: null } },
      },
      deploy: {
        releaseCommand: 'node dist/migrate.js',
        readinessCheck: { probe: { kind: 'httpGet', path: '/healthz' }, failureTimeoutMs: 30_000 },
        standbyMs: 3_600_000,
      },
      retention: 10,
      trigger: { branch: 'main', tags: null, watch: ['apps/api/**'], queue: 'every' },
    })
  })

  it('gives a frozen result, all the way down', async () => {
    const { config } = await resolve({ 'shiplock.yaml': ONE })
    const walk = (value: unknown): void => {
      if (value === null || typeof value !== 'object') return
      expect(Object.isFrozen(value)).toBe(true)
      Object.values(value).forEach(walk)
    }
    walk(config)
    expect(Object.isFrozen(DEFAULTS.run.env)).toBe(true)
  })

  it('fills what is left out from the defaults', async () => {
    const { config } = await resolve({ 'shiplock.yaml': ONE })
    expect(config.deploy.readinessCheck).toEqual(DEFAULTS.readinessCheck)
    expect(config.build).toMatchObject({ kind: 'recipe', deployFiles: ['./'], timeoutMs: LIMITS.buildHardTimeoutMs })
    expect(config.run).toEqual({ ...DEFAULTS.run, startCommands: ['./api'] })
  })
})

describe('config explain', () => {
  it('says of each value which line, detection or default it came from', async () => {
    const { explanation } = await resolve({
      'shiplock.yaml': 'services:\n  api:\n    run:\n      env:\n        A: x\n        B: ${A}\n    deploy: { bake: 90s }\n',
      'package.json': '{"scripts":{"start":"node a.js"}}',
    })
    const source = (path: string) => explanation.find((entry) => entry.path === path)
    expect(source('run.env.B')).toEqual({ path: 'run.env.B', value: '${A}', source: 'shiplock.yaml:6' })
    expect(source('run.start')).toMatchObject({ value: ['node a.js'], source: 'detected (Node.js app (package.json))' })
    expect(source('deploy.bake')).toEqual({ path: 'deploy.bake', value: '90s', source: 'shiplock.yaml:7' })
    expect(source('deploy.standby')).toEqual({ path: 'deploy.standby', value: '1h', source: 'default' })
    expect(source('deploy.readinessCheck.tcp')).toMatchObject({ source: 'default' })
  })

  it('names every path once', async () => {
    const { explanation } = await resolve({ 'shiplock.yaml': ONE })
    expect(new Set(explanation.map(({ path }) => path)).size).toBe(explanation.length)
  })
})

describe('which service', () => {
  it('takes the only one, or the one that is named', async () => {
    expect((await resolve({ 'shiplock.yaml': ONE })).config.name).toBe('api')
    expect((await resolve({ 'shiplock.yaml': TWO }, { serviceName: 'worker' })).config.build).toEqual({
      kind: 'image',
      reference: 'busybox',
    })
  })

  it('refuses to guess among several', async () => {
    await expect(resolve({ 'shiplock.yaml': TWO })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'shiplock.yaml has 2 services: api, worker',
    })
  })

  it('names the known ones and the nearest', async () => {
    await expect(resolve({ 'shiplock.yaml': TWO }, { serviceName: 'wroker' })).rejects.toMatchObject({
      message: 'shiplock.yaml has no service wroker; it has api, worker (did you mean worker?)',
    })
  })

  it('lists them', async () => {
    const request = { configPath: null, rootDirectory: null }
    expect(await listServices({ directory: await source({ 'shiplock.yml': TWO }), ...request })).toEqual(['api', 'worker'])
    const plain = await source({ 'My App_2/index.html': '' })
    expect(await listServices({ directory: join(plain, 'My App_2'), ...request })).toEqual(['my-app-2'])
  })

  it('names a service without a file after its directory, or as asked', async () => {
    const root = await source({ 'Web Site/index.html': '' })
    const request = { directory: join(root, 'Web Site'), configPath: null, rootDirectory: null }
    expect((await resolveService({ ...request, serviceName: null })).config.name).toBe('web-site')
    expect((await resolveService({ ...request, serviceName: 'www' })).config.name).toBe('www')
    await expect(resolveService({ ...request, serviceName: 'W W' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })
})

describe('which file', () => {
  it('refuses two names of one file', async () => {
    await expect(resolve({ 'shiplock.yaml': ONE, 'shiplock.yml': ONE })).rejects.toMatchObject({
      message: 'both shiplock.yaml and shiplock.yml are there',
    })
  })

  it('looks in the root directory first, then at the top', async () => {
    const files = { 'shiplock.yaml': ONE, 'apps/web/index.html': '' }
    expect((await resolve(files, { rootDirectory: 'apps/web' })).config.name).toBe('api')
    const own = { ...files, 'apps/web/shiplock.yaml': 'services: { web: {} }' }
    expect((await resolve(own, { rootDirectory: 'apps/web' })).config).toMatchObject({ name: 'web', run: { staticRoot: '.' } })
  })

  it('reads a file that is named, whatever its name', async () => {
    const { config, origin } = await resolve({ 'deploy/prod.yaml': ONE }, { configPath: 'deploy/prod.yaml' })
    expect([config.name, origin]).toEqual(['api', 'deploy/prod.yaml'])
  })

  it.each(['../x.yaml', '/etc/passwd', 'a\0b', 'a/../../b'])('I9: refuses the configuration path %j', async (configPath) => {
    await expect(resolve({ 'shiplock.yaml': ONE }, { configPath })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it.each(['..', '/', 'missing'])('I9: refuses the root directory %j', async (rootDirectory) => {
    await expect(resolve({ 'shiplock.yaml': ONE }, { rootDirectory })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('says so when the named file or the directory is not there', async () => {
    await expect(resolve({}, { configPath: 'a.yaml' })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' })
    const request = { serviceName: null, configPath: null, rootDirectory: null }
    await expect(resolveService({ directory: '/nonexistent/x', ...request })).rejects.toMatchObject({ code: 'CONFIG_NOT_FOUND' })
  })

  it('I9: does not read a link out of the source, or what is no UTF-8', async () => {
    const linked = await source({})
    await symlink('/etc/passwd', join(linked, 'shiplock.yaml'))
    const request = { serviceName: null, configPath: null, rootDirectory: null }
    await expect(resolveService({ directory: linked, ...request })).rejects.toMatchObject({
      message: expect.stringContaining('leaves the source'),
    })
    const binary = await source({})
    await writeFile(join(binary, 'shiplock.yaml'), Buffer.from([0xff, 0xfe, 0x00]))
    await expect(resolveService({ directory: binary, ...request })).rejects.toMatchObject({ message: 'shiplock.yaml is not UTF-8 text' })
  })

  it('I12: refuses a file larger than the limit', async () => {
    await expect(resolve({ 'shiplock.yaml': '#'.repeat(LIMITS.configBytes + 1) })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining(`at most ${LIMITS.configBytes}`),
    })
  })
})

describe('a file that leaves something open', () => {
  const PACKAGE = '{"dependencies":{"a":"1"},"scripts":{"start":"node a.js","build":"tsc"}}'

  it('gets build and start from detection, and says so', async () => {
    const { config, detected } = await resolve({
      'shiplock.yaml': 'services: { api: { build: { timeout: 2m, env: { A: b } }, run: { instances: 3 } } }',
      'package.json': PACKAGE,
    })
    expect(config.build).toMatchObject({
      kind: 'recipe',
      buildCommands: ['npm install --include=dev', 'npm run build'],
      timeoutMs: 120_000,
      env: { A: 'b' },
    })
    expect(config.run).toMatchObject({ startCommands: ['node a.js'], instances: 3 })
    expect(detected[0]).toBe('services.api says nothing about build, so it was detected: Node.js app (package.json)')
  })

  it('keeps its own start and gets only the build', async () => {
    const { config } = await resolve({
      'shiplock.yaml': 'services: { api: { run: { start: node other.js } } }',
      'package.json': '{"dependencies":{"a":"1"}}',
    })
    expect(config.build).toMatchObject({ buildCommands: ['npm install --include=dev'] })
    expect(config.run.startCommands).toEqual(['node other.js'])
  })

  it('keeps its own build and gets only the start', async () => {
    const { config } = await resolve({ 'shiplock.yaml': 'services: { api: { build: { buildCommands: make } } }', 'package.json': PACKAGE })
    expect(config.build).toMatchObject({ buildCommands: ['make'] })
    expect(config.run.startCommands).toEqual(['node a.js'])
  })

  it('runs the source as it is when it only names a start command', async () => {
    const { config } = await resolve({ 'shiplock.yaml': 'services: { api: { run: { start: ./run.sh } } }' })
    expect(config.build).toMatchObject({ kind: 'recipe', buildCommands: [], deployFiles: ['./'] })
  })

  it('is refused when nothing is detected either', async () => {
    await expect(resolve({ 'shiplock.yaml': 'services: { api: { build: { buildCommands: make } } }' })).rejects.toMatchObject({
      code: 'CONFIG_INVALID',
      message: expect.stringContaining('services.api says nothing about run.start'),
    })
  })

  it('is refused when build.env meets a detected Dockerfile', async () => {
    const files = { 'shiplock.yaml': 'services: { api: { build: { env: { A: b } } } }', Dockerfile: 'FROM scratch' }
    await expect(resolve(files)).rejects.toMatchObject({ message: expect.stringContaining('build.env is for recipes') })
  })

  it('needs no start for an image or a Dockerfile', async () => {
    expect((await resolve({ 'shiplock.yaml': 'services: { api: { build: { image: busybox } } }' })).config.run.startCommands).toEqual([])
    expect((await resolve({ 'shiplock.yaml': 'services: { api: { build: { target: prod } } }' })).config.build).toMatchObject({
      kind: 'dockerfile',
      dockerfile: 'Dockerfile',
      target: 'prod',
    })
  })
})
