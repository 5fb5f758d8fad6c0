import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { temporaryDirectory } from '../../test/support/temporary-directory.ts'
import { LIMITS } from '../core/limits.ts'
import type { HostFacts } from './setting-definition.ts'
import { clientSettings, type Environment, loadSettings } from './settings.ts'

const HOST: HostFacts = {
  isRoot: false,
  homeDirectory: '/home/ann',
  xdgDataHome: null,
  xdgRuntimeDirectory: null,
  dockerHost: null,
  cores: 2,
}
const load = (env: Environment, file: string | null = null, host = HOST) => loadSettings(env, { file, host })
async function settingsFile(text: string): Promise<string> {
  const root = temporaryDirectory()
  const file = join(root, 'shiplock.server.yaml')
  await writeFile(file, text)
  return file
}

describe('defaults', () => {
  it('needs nothing', () => {
    expect(load({})).toEqual({
      databaseUrl: null,
      secretKey: null,
      secretKeyFile: null,
      gitCaFile: null,
      dataDirectory: '/home/ann/.local/share/shiplock',
      nodeDirectory: null,
      maxConcurrentBuilds: 2,
      buildTimeoutMs: 900_000,
      domain: 'localhost',
      apiListen: { host: '127.0.0.1', port: 4700 },
      apiHosts: [],
      trustedProxies: [],
      apiRequestsPerMinute: 6000,
      edgeListen: { host: '127.0.0.1', port: 8080 },
      edgeWorkers: 1,
      buildCpus: null,
      buildMemoryMb: null,
      buildDiskMb: 10_240,
      buildCacheMb: 10_240,
      bases: new Map(),
      runtime: 'auto',
      containerEngine: ['/var/run/docker.sock', '/home/ann/.docker/run/docker.sock', '/run/podman/podman.sock'].map(
        (path) => `unix://${path}`,
      ),
      containerAddress: 'auto',
      instanceNetwork: 'auto',
      hostAccess: new Map(),
      dockerfileAddUrls: 'refuse',
      dockerfileNetwork: 'engine',
      registry: null,
      registryUser: null,
      registryPassword: null,
      registryAuthFile: null,
      registryInsecure: false,
      instanceDiskMb: 10_240,
      projectDiskMb: null,
      projectUploadMb: 4096,
      diskReserveMb: 512,
      diskMark: { percent: 95, freeBytes: LIMITS.diskFreeBytesMin },
      edge: 'embedded',
      traefikListen: { host: '127.0.0.1', port: 4702 },
      edgeFront: null,
      traefikEntry: { isTls: false, host: '127.0.0.1', port: 80 },
      traefikInner: null,
      traefikEntryPoints: [],
      responseTimeoutMs: 120_000,
      sharedCookies: false,
      traefikCertResolver: null,
      traefikNetwork: null,
      traefikFile: null,
      trivy: null,
      trivyServer: null,
      trivyToken: null,
      trivyCacheDirectory: null,
      trivyDbRepository: [],
      trivyJavaDbRepository: [],
      trivyOffline: false,
      scanTimeoutMs: 600_000,
      scanReuseMs: 24 * 3_600_000,
      scanWithoutScanner: null,
      publicUrl: null,
      hooksListen: null,
      headCheckMs: 300_000,
      outgoing: 'private',
      fileSourceDirectories: [],
      allowFileSources: null,
      sourceReach: 'private',
      sourceHosts: [],
      searchPath: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      logLevel: 'info',
      crashAt: null,
    })
  })

  it('is frozen', () => {
    const settings = load({})
    expect(Object.isFrozen(settings) && Object.isFrozen(settings.apiListen)).toBe(true)
  })

  it.each([
    [{ isRoot: true }, '/var/lib/shiplock'],
    [{ xdgDataHome: '/data' }, '/data/shiplock'],
  ])('puts data where the user may write: %j', (facts, directory) => {
    expect(load({}, null, { ...HOST, ...facts }).dataDirectory).toBe(directory)
  })
})

describe('values', () => {
  it.each([
    ['DATABASE_URL', 'postgres://a:b@c/d', { databaseUrl: 'postgres://a:b@c/d' }],
    ['MAX_CONCURRENT_BUILDS', '7', { maxConcurrentBuilds: 7 }],
    ['BUILD_TIMEOUT', '90', { buildTimeoutMs: 90_000 }],
    ['BUILD_TIMEOUT', '1h', { buildTimeoutMs: 3_600_000 }],
    ['SHIPLOCK_DOMAIN', 'Apps.Example.com.', { domain: 'apps.example.com' }],
    ['SHIPLOCK_EDGE_LISTEN', '80', { edgeListen: { host: '127.0.0.1', port: 80 } }],
    ['SHIPLOCK_EDGE_LISTEN', '[::]:0', { edgeListen: { host: '::', port: 0 } }],
    ['SHIPLOCK_LOG_LEVEL', 'DEBUG', { logLevel: 'debug' }],
    ['SHIPLOCK_CRASH_AT', 'swap.recorded@2', { crashAt: 'swap.recorded@2' }],
    ['SHIPLOCK_REGISTRY', 'Reg.example.com:5000/team/', { registry: 'reg.example.com:5000/team', registryInsecure: false }],
    ['SHIPLOCK_REGISTRY', '127.0.0.1:5000', { registry: '127.0.0.1:5000', registryInsecure: true }],
    ['SHIPLOCK_DISK_MARK', '80%', { diskMark: { percent: 80, freeBytes: LIMITS.diskFreeBytesMin } }],
    ['SHIPLOCK_DISK_MARK', '2GiB', { diskMark: { percent: 100, freeBytes: 2 * 1024 ** 3 } }],
    ['SHIPLOCK_TRAEFIK_ENTRY', 'https://10.0.0.5:8443', { traefikEntry: { isTls: true, host: '10.0.0.5', port: 8443 } }],
    ['SHIPLOCK_TRAEFIK_ENTRY', 'none', { traefikEntry: null }],
    ['SHIPLOCK_EDGE_FRONT', 'https', { edgeFront: { isTls: true, port: 443 } }],
    ['SHIPLOCK_EDGE_FRONT', 'http:8088', { edgeFront: { isTls: false, port: 8088 } }],
    ['SHIPLOCK_TRAEFIK_CERT_RESOLVER', 'le', { traefikCertResolver: 'le', traefikEntry: { isTls: true, host: '127.0.0.1', port: 443 } }],
    ['SHIPLOCK_TRAEFIK_ENTRY_POINTS', 'web, websecure', { traefikEntryPoints: ['web', 'websecure'] }],
    ['SHIPLOCK_TRAEFIK_INNER', 'http://172.17.0.1:8080/', { traefikInner: 'http://172.17.0.1:8080' }],
    ['SHIPLOCK_DOMAIN', '  ', { domain: 'localhost' }],
  ])('%s=%s', (name, value, expected) => {
    expect(load({ [name]: value })).toMatchObject(expected)
  })

  it.each([
    ['DATABASE_URL', 'mysql://root:hunter2@x', 'must be a postgres:// URL, e.g. postgres://'],
    ['MAX_CONCURRENT_BUILDS', '0', 'must be a whole number from 1 to 100, e.g. 4'],
    ['MAX_CONCURRENT_BUILDS', '2.5', 'must be a whole number'],
    ['MAX_CONCURRENT_BUILDS', '1e1', 'must be a whole number'],
    ['BUILD_TIMEOUT', 'long', 'must be a duration such as 500ms'],
    ['BUILD_TIMEOUT', '0', 'must be between 1s and 1d'],
    ['SHIPLOCK_DATA_DIR', 'data', 'must be an absolute path, e.g. /var/lib/shiplock'],
    ['SHIPLOCK_DOMAIN', 'https://x.de', 'must be a domain name, without scheme'],
    ['SHIPLOCK_DOMAIN', '*.x.de', 'must be a domain name'],
    ['SHIPLOCK_API_LISTEN', 'example.com:80', 'must be an IP address and a port'],
    ['SHIPLOCK_API_LISTEN', '127.0.0.1:99999', 'must be an IP address and a port'],
    ['SHIPLOCK_API_LISTEN', '[127.0.0.1]:80', 'must be an IP address and a port'],
    ['SHIPLOCK_EDGE_WORKERS', '65', 'must be a whole number from 1 to 64'],
    ['SHIPLOCK_RUNTIME', 'proces', 'must be one of auto, process, docker'],
    ['SHIPLOCK_REGISTRY', 'https://reg.example.com', 'must not have a scheme'],
    ['SHIPLOCK_REGISTRY', 'me:hunter2@reg.example.com', 'must not hold a user or password'],
    ['SHIPLOCK_REGISTRY', 'team/apps', 'must begin with the host of a registry'],
    ['SHIPLOCK_REGISTRY', 'reg.example.com:99999/a', 'has a port that does not exist'],
    ['SHIPLOCK_REGISTRY', 'reg.example.com/Team', 'has a path that no image name may have'],
    ['SHIPLOCK_REGISTRY_AUTH_FILE', 'auth.json', 'must be an absolute path'],
    ['SHIPLOCK_DISK_MARK', '0%', 'must be a share such as 90%'],
    ['SHIPLOCK_EDGE', 'nginx', 'must be one of embedded, traefik'],
    ['SHIPLOCK_EDGE_FRONT', 'https://a', 'must be http or https'],
    ['SHIPLOCK_TRAEFIK_ENTRY', 'http://a/path', 'must be an http or https address without path'],
    ['SHIPLOCK_TRAEFIK_CERT_RESOLVER', 'a`b', 'must be a name of letters'],
    ['SHIPLOCK_TRAEFIK_INNER', 'https://a', 'must be an http address'],
    ['SHIPLOCK_LOG_LEVEL', 'loud', 'must be one of debug, info, warn, error, silent'],
    ['SHIPLOCK_ALLOW_FILE_SOURCES', 'perhaps', 'must be true or false'],
    ['SHIPLOCK_CRASH_AT', '; rm', 'must be a crash point'],
  ])('I9: refuses %s=%s', (name, value, words) => {
    expect(() => load({ [name]: value })).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
    expect(() => load({ [name]: value })).toThrow(`${name} ${words}`)
  })

  it('I8: never repeats a value, and tells all wrong settings at once', () => {
    const wrong = () => load({ DATABASE_URL: 'mysql://root:hunter2@x', BUILD_TIMEOUT: 'hunter2' })
    expect(wrong).toThrow(/^2 settings are wrong:\n {2}DATABASE_URL must.*\n {2}BUILD_TIMEOUT must.*$/)
    expect(wrong).not.toThrow('hunter2')
  })
})

describe('shiplock.server.yaml', () => {
  it('is read below the variables and above the defaults', async () => {
    const file = await settingsFile(
      'buildTimeout: 5m\nmaxConcurrentBuilds: 4\nedgeListen: 0.0.0.0:80\nallowFileSources: no\nx-note: mine\n',
    )
    expect(load({ MAX_CONCURRENT_BUILDS: '9' }, file)).toMatchObject({
      buildTimeoutMs: 300_000,
      maxConcurrentBuilds: 9,
      edgeListen: { host: '0.0.0.0', port: 80 },
      allowFileSources: false,
    })
  })

  it('may be empty', async () => {
    expect(load({}, await settingsFile('# nothing yet\n')).domain).toBe('localhost')
  })

  it.each([
    ['buildTimeot: 5m', ':1: buildTimeot is an unknown setting, did you mean buildTimeout? Allowed: databaseUrl'],
    ['crashAt: swap.recorded', 'crashAt is an unknown setting'],
    ['\ndomain: [a]', ':2: domain must be one value'],
    ['- a', 'must be a map of settings'],
    ['domain: a_b', 'domain must be a domain name'],
    ['domain: a\ndomain: b', 'this key stands twice'],
  ])('I9: refuses %j', async (text, words) => {
    const file = await settingsFile(text)
    expect(() => load({}, file)).toThrow(words)
  })

  it('is refused when it is named and not there', () => {
    expect(() => load({}, '/nonexistent/shiplock.server.yaml')).toThrow("can't be read")
  })
})

describe('the client', () => {
  it('finds the server of this machine by default', () => {
    expect(clientSettings({}, HOST)).toEqual({ url: null, token: null, dataDirectory: '/home/ann/.local/share/shiplock' })
  })

  it('takes URL, token and data directory', () => {
    const env = { SHIPLOCK_URL: 'https://ship.example.com/base/', SHIPLOCK_TOKEN: ' slk_abc ', SHIPLOCK_DATA_DIR: '/d' }
    expect(clientSettings(env, HOST)).toEqual({ url: 'https://ship.example.com/base', token: 'slk_abc', dataDirectory: '/d' })
  })

  it.each([
    { SHIPLOCK_URL: 'ship.example.com' },
    { SHIPLOCK_URL: 'file:///etc/passwd' },
    { SHIPLOCK_URL: 'http://user:pw@host' },
    { SHIPLOCK_TOKEN: 'two words' },
    { SHIPLOCK_TOKEN: 'line\r\nbreak' },
    { SHIPLOCK_DATA_DIR: 'here' },
  ])('I9: refuses %j', (env) => {
    expect(() => clientSettings(env, HOST)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
  })
})
