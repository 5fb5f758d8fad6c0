import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { acquireDirectoryLock } from '../../src/core/directory-lock.ts'
import { ShiplockError } from '../../src/core/errors.ts'
import type { Artifact } from '../../src/domain/deployment.ts'
import type { Digest } from '../../src/domain/ids.ts'
import { DEFAULT_ON_FAILURE } from '../../src/scanner/scanner.ts'
import { createTrivyScanner, type TrivyScannerOptions } from '../../src/scanner/trivy.ts'
import type { ImageEngine } from '../../src/scanner/trivy-command.ts'
import { eventually } from '../support/eventually.ts'
import { type TrivyPlan, TrivyStandIn } from '../support/trivy.ts'

const DIGEST = `sha256:${'5e'.repeat(32)}` as Digest
const TREE: Artifact = { kind: 'tree', digest: DIGEST, files: 1, bytes: 1 }
const IMAGE: Artifact = { kind: 'image', digest: DIGEST, reference: 'shop/api:build', command: null, exposedPorts: [] }
const ENGINE: ImageEngine = { environment: { DOCKER_HOST: 'unix:///tmp/engine.sock' }, findImage: async () => DIGEST }

let trivy: TrivyStandIn
let directory: string

beforeEach(() => {
  trivy = new TrivyStandIn()
  directory = mkdtempSync('/tmp/sl-scan-')
  mkdirSync(join(directory, 'tree'))
  writeFileSync(join(directory, 'tree', '.trivyignore'), 'CVE-2024-24790\n')
})
afterEach(() => {
  trivy.remove()
  rmSync(directory, { recursive: true, force: true })
})

function scannerOf(options: Partial<TrivyScannerOptions> = {}) {
  return createTrivyScanner({
    program: trivy.program,
    searchPath: process.env.PATH ?? '',
    cacheDirectory: join(directory, 'cache'),
    server: null,
    databaseRepositories: [],
    javaDatabaseRepositories: [],
    isOffline: false,
    timeoutMs: 20_000,
    engine: ENGINE,
    rules: { onFailure: DEFAULT_ON_FAILURE, reuseMs: 0 },
    clock: systemClock,
    ...options,
  })
}

interface ScanChanges extends Partial<TrivyScannerOptions> {
  readonly artifact?: Artifact
  readonly signal?: AbortSignal
  readonly onLine?: (line: string) => void
  readonly layerDirectory?: string
  readonly workDirectory?: string
}

function scan({ artifact = TREE, signal, onLine, layerDirectory, workDirectory, ...options }: ScanChanges = {}) {
  return scannerOf(options).scan({
    artifact,
    artifactDirectory: artifact.kind === 'tree' ? join(directory, 'tree') : null,
    layerDirectory: layerDirectory ?? null,
    workDirectory: workDirectory ?? mkdtempSync(join(directory, 'work-')),
    onLine: onLine ?? (() => {}),
    signal: signal ?? new AbortController().signal,
  })
}

async function refusal(plan: TrivyPlan, changes: ScanChanges = {}): Promise<ShiplockError> {
  trivy.plan(plan)
  const error = await scan(changes).catch((caught: unknown) => caught)
  if (error instanceof ShiplockError && error.code === 'SCANNER_FAILED') return error
  throw new Error(`it was not refused with SCANNER_FAILED: ${JSON.stringify(error)}`)
}

describe('what comes of a scan', () => {
  it('of a tree: both views as one report, with version and age of the database', async () => {
    const report = await scan()
    expect(report).toMatchObject({ scanner: 'trivy', version: '0.69.3', counts: { critical: 1, high: 1, medium: 1 }, notes: [] })
    expect(Date.parse(report.databaseAt ?? '')).toBeGreaterThan(Date.now() - 2 * 3_600_000)
    expect(trivy.scans().map((call) => call.command)).toEqual(['fs', 'rootfs'])
  })

  it('of a tree with a runtime layer: the layer too', async () => {
    await scan({ layerDirectory: directory })
    expect(trivy.scans().map((call) => call.args.at(-1))).toEqual([join(directory, 'tree'), join(directory, 'tree'), directory])
  })

  it('of an image: the engine is named in the environment', async () => {
    const report = await scan({ artifact: IMAGE })
    expect(report.counts).toMatchObject({ critical: 2, high: 1 })
    expect(trivy.scans()[0]?.env.DOCKER_HOST).toBe('unix:///tmp/engine.sock')
    expect(trivy.scans()[0]?.args.at(-1)).toBe(DIGEST)
  })

  it("stands in an empty directory, so that an app's .trivyignore or trivy.yaml waives nothing", async () => {
    await scan()
    expect(trivy.calls().filter((call) => call.ended === undefined && call.cwd.length > 0)).toEqual([])
    expect(readdirSync(directory).filter((name) => name.startsWith('work-'))).toEqual([])
  })

  it('tells what Trivy says while it works, without its escape sequences', async () => {
    trivy.plan({ stderr: ['\u001b[34mINFO\u001b[0m\tDetected OS'] })
    const lines: string[] = []
    await scan({ onLine: (line) => lines.push(line) })
    expect(lines).toContain('INFO Detected OS')
    expect(lines.join()).not.toMatch(/\t|\d{4}-\d\d-\d\dT/)
  })

  it('with an old database says so', async () => {
    trivy.plan({ databaseAt: new Date(Date.now() - 12 * 86_400_000).toISOString() })
    expect((await scan()).notes).toEqual(['the vulnerability database is 12 days old, newer findings are missing'])
  })
})

describe('I1: what one run found is kept although another failed', () => {
  const jar = () => writeFileSync(join(directory, 'tree', 'thing.jar'), 'PK')

  it.each(['fs', 'rootfs'] as const)('%s fails: the findings of the other are the report, with the gap', async (failing) => {
    trivy.plan({ failing: [failing] })
    const { gaps, findings } = await scan()
    expect(findings.length).toBeGreaterThan(0)
    expect(gaps).toEqual([
      expect.stringMatching(failing === 'fs' ? /^lock files \(trivy ended with 1: run error/ : /^installed packages, jars/),
    ])
  })

  it('all fail: the scan has failed', async () => {
    expect((await refusal({ failing: ['fs', 'rootfs'] })).message).toContain('was told to fail')
  })

  it('a Java archive offline without its database: everything but the archives is looked into', async () => {
    await scan()
    jar()
    const { gaps, findings } = await scan({ isOffline: true })
    expect(gaps).toEqual([expect.stringMatching(/^Java archives \(trivy has no Java database and may not fetch one: run error: /)])
    expect(findings).toEqual((await scan()).findings)
  })

  it.each<[string, Artifact]>([
    ['a tree', TREE],
    ['an image', IMAGE],
  ])('the same in %s when it can not be fetched', async (_what, artifact) => {
    jar()
    trivy.plan({ javaDatabaseIsDown: true, imageHasJar: true })
    const { gaps, counts } = await scan({ artifact })
    expect(gaps.join()).toMatch(/^Java archives \(trivy /)
    expect(counts.critical).toBeGreaterThan(0)
  })

  it('the time is that of the whole scan: what was found before it was over is kept, and no run begins after it', async () => {
    trivy.plan({ sleepMs: 60_000, sleepsIn: 'rootfs' })
    const begun = performance.now()
    const { gaps, counts } = await scan({ timeoutMs: 3000, layerDirectory: directory })
    expect(performance.now() - begun).toBeLessThan(15_000)
    expect(counts.critical + counts.high).toBeGreaterThan(0)
    expect(gaps).toEqual([expect.stringContaining('not done when the 3 s'), expect.stringContaining('not begun: the 3 s')])
    expect(trivy.scans().map(({ command }) => command)).toEqual(['fs', 'rootfs'])
  }, 30_000)
})

describe('a scan that fails says why', () => {
  it.each<[string, TrivyPlan, RegExp]>([
    [
      'an exit code',
      { exitCode: 1, stderr: ['2026-11-20T08:30:00Z\tFATAL\tFatal error\timage scan error: no such image'] },
      /ended with 1: .*no such image/,
    ],
    ['a signal', { killedBy: 'SIGKILL' }, /was killed, as it is when the host runs out of memory/],
    ['nothing printed', { stdout: '' }, /printed nothing/],
    ['rubbish', { stdout: '\u0000\u0001<html>' }, /not JSON/],
    ['half a report', { stdout: '{"SchemaVersion":2,"Results":[{"Target":"a","Vulner' }, /not JSON/],
    ['an old format', { reports: { fs: 'before-schemas', rootfs: 'before-schemas' } }, /before 0\.20/],
    ['an old Trivy', { unknownFlags: ['--list-all-pkgs'] }, /does not know a flag that is needed: Error: unknown flag: --list-all-pkgs/],
    ['a truncated database', { database: 'truncated' }, /^trivy can’t read its database: unexpected fault address 0x7f82fed68008$/],
    ['a garbled database', { database: 'random' }, /^trivy can’t read its database: run error: init error: .*invalid database$/],
    ['no database and none to be had', { databaseIsDown: true }, /could not fetch its database/],
    ['a malicious release', { version: '0.69.4' }, /one of the malicious releases/],
  ])('%s', async (_what, plan, why) => {
    expect((await refusal(plan)).message).toMatch(why)
  })

  it('offline without a database, with what to do', async () => {
    const { message, hint } = await refusal({}, { isOffline: true })
    expect(message).toContain('has no database and may not fetch one')
    expect(hint).toContain('SHIPLOCK_TRIVY_OFFLINE')
  })

  it('an image that is nowhere to be had', async () => {
    const gone = { ...ENGINE, findImage: async () => null }
    expect((await refusal({}, { artifact: IMAGE, engine: gone })).message).toContain('the container engine does not have it')
    expect((await refusal({}, { artifact: IMAGE, engine: null })).message).toContain('no container engine is in use here')
  })

  it('too slow: ended, with all of its processes', async () => {
    const { message, hint } = await refusal({ sleepMs: 60_000 }, { timeoutMs: 200 })
    expect(message).toContain('was not done when the 0.2 s for the scan were over')
    expect(hint).toContain('SHIPLOCK_SCAN_TIMEOUT')
    expect(isAlive(trivy.scans()[0]?.pid)).toBe(false)
  }, 30_000)

  it('I12: a report that does not end', async () => {
    // A run of the stand-in that prints 70 MiB.
    writeFileSync(join(trivy.directory, 'stand-in.mjs'), ENDLESS)
    const error = await scan().catch((caught: unknown) => caught)
    expect((error as Error).message).toMatch(/larger than 64 MiB/)
  }, 30_000)

  it('a program that can not be started', async () => {
    writeFileSync(trivy.program, '#!/nowhere/sh\n', { mode: 0o755 })
    await expect(scan()).rejects.toMatchObject({ code: 'SCANNER_FAILED', message: expect.stringContaining("can't start") })
  })

  it('another program of that name', async () => {
    writeFileSync(trivy.program, '#!/bin/sh\necho hello\n', { mode: 0o755 })
    await expect(scan()).rejects.toMatchObject({ code: 'SCANNER_FAILED', message: expect.stringContaining('another program') })
  })

  it('I8: never with the token of the Trivy server', async () => {
    const server = { url: 'http://trivy:4954', token: 'very-secret-token' }
    const { message, details } = await refusal({ exitCode: 1, stderr: ['FATAL\tbad token very-secret-token'] }, { server })
    expect(message).toContain('bad token ********')
    expect(JSON.stringify(details)).not.toContain('very-secret-token')
  })
})

describe('what can be got over is got over, and told', () => {
  it('a database that can not be fetched, where there is an older one', async () => {
    await scan()
    trivy.plan({ databaseIsDown: true })
    const report = await scan()
    expect(report.counts.critical).toBe(1)
    expect(report.notes).toEqual(['the vulnerability database could not be brought up to date; the one that was there was used'])
  })

  it('a layer cache that another program holds', async () => {
    trivy.plan({ cacheIsBusy: true })
    const lines: string[] = []
    const report = await scan({ artifact: IMAGE, onLine: (line) => lines.push(line) })
    expect(report.counts.critical).toBe(2)
    expect(lines).toContain('another process holds the layer cache: scanning without it')
  })
})

describe('several scans at once', () => {
  it('take turns on a cache directory: one start after each end', async () => {
    await Promise.all([scan({ artifact: IMAGE }), scan({ artifact: IMAGE }), scan({ artifact: IMAGE })])
    const sequence = trivy.calls().filter((call) => call.command === 'image' || call.ended !== undefined)
    expect(sequence.map((call) => call.ended ?? 'start')).toEqual(['start', 'image', 'start', 'image', 'start', 'image'])
  })

  it('wait for another server of the host, say so, and can be called off', async () => {
    mkdirSync(join(directory, 'cache'))
    const lock = await acquireDirectoryLock(join(directory, 'cache'), 'scan')
    const abort = new AbortController()
    const lines: string[] = []
    const waiting = scan({ signal: abort.signal, onLine: (line) => lines.push(line) }).catch((error: unknown) => error)
    await eventually(async () => expect(lines).toEqual(['waiting for another scan on this host to end']))
    abort.abort(new Error('called off'))
    expect(await waiting).toMatchObject({ message: 'called off' })
    await lock.release()
    expect((await scan()).counts.critical).toBe(1)
  })

  it('a Trivy server serves all at once; its token is not an argument', async () => {
    const server = { url: 'http://127.0.0.1:4954', token: 'very-secret-token' }
    trivy.plan({ token: 'very-secret-token' })
    const lock = await holdCache()
    expect((await scan({ server, artifact: IMAGE })).counts.critical).toBe(2)
    await lock.release()
    expect(trivy.scans()[0]?.args.join(' ')).not.toContain('very-secret-token')
    await expect(scan({ server: { ...server, token: 'wrong-token' }, artifact: IMAGE })).rejects.toThrow(/unauthenticated/)
  })

  async function holdCache() {
    mkdirSync(join(directory, 'cache'), { recursive: true })
    return acquireDirectoryLock(join(directory, 'cache'), 'scan')
  }
})

it('I5: what a killed server left running is ended by the next scan there, and by the undo', async () => {
  for (const next of ['scan', 'undo'] as const) {
    trivy.forget()
    trivy.plan({ sleepMs: 60_000 })
    const workDirectory = join(directory, 'left')
    const dying = spawn(process.execPath, ['--input-type=module', '-e', DYING_SERVER, trivy.program, workDirectory], { stdio: 'ignore' })
    await once(dying, 'exit')
    await eventually(async () => expect(trivy.scans()).toHaveLength(1))
    const [left] = trivy.scans()
    expect(isAlive(left?.pid)).toBe(true)
    trivy.plan({})
    if (next === 'undo') await scannerOf().cleanUp(workDirectory)
    else await scan({ workDirectory })
    expect(isAlive(left?.pid)).toBe(false)
  }
})

it('a cancel ends the program and gives the reason on', async () => {
  trivy.plan({ sleepMs: 60_000 })
  const abort = new AbortController()
  const scanning = scan({ signal: abort.signal }).catch((error: unknown) => error)
  await eventually(async () => expect(trivy.scans()).toHaveLength(1))
  abort.abort(new Error('called off'))
  expect(await scanning).toMatchObject({ message: 'called off' })
  expect(isAlive(trivy.scans()[0]?.pid)).toBe(false)
})

describe('the check', () => {
  const signal = new AbortController().signal

  it('says version and age of the database', async () => {
    expect(await scannerOf().check(signal)).toMatchObject({ ok: true, summary: expect.stringMatching(/^Trivy 0\.69\.3 .*no database yet/) })
    await scan()
    expect((await scannerOf().check(signal)).summary).toMatch(/database of \d{4}-\d{2}-\d{2}, 1 h old$/)
  })

  it('offline without a database, or without that of Java archives, says so and what to do', async () => {
    const bare = await scannerOf({ isOffline: true }).check(signal)
    expect(bare).toMatchObject({
      ok: false,
      summary: expect.stringContaining('every scan fails'),
      hint: expect.stringContaining('java-db/'),
    })
    await scan()
    const half = await scannerOf({ isOffline: true }).check(signal)
    expect(half).toMatchObject({
      ok: false,
      summary: expect.stringContaining('no Java database'),
      hint: expect.stringContaining('java-db/'),
    })
    expect((await scannerOf().check(signal)).ok).toBe(true)
  })

  it('a damaged database is to be removed', async () => {
    expect((await refusal({ database: 'random' })).hint).toContain('Remove `db/`')
    expect((await refusal({ database: 'truncated' })).hint).toContain('Remove `db/`')
  })

  it('a Trivy server is asked: gone, another token, none at all', async () => {
    const asked: (string | undefined)[] = []
    const server = createServer((request, response) => {
      asked.push(`${request.method} ${request.url}`)
      const isKnown = request.headers['trivy-token'] === 'right'
      response.writeHead(request.url?.startsWith('/twirp/trivy.cache') ? (isKnown ? 200 : 401) : 404).end('{}')
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const checked = (token: string | null, at = url) => scannerOf({ server: { url: at, token } }).check(signal)
    expect(await checked('right')).toMatchObject({ ok: true, summary: expect.stringContaining(`databases at ${url}`) })
    expect(await checked('wrong')).toMatchObject({ ok: false, summary: expect.stringContaining('refuses the token') })
    expect(await checked('right', `${url}/elsewhere`)).toMatchObject({ ok: false, summary: expect.stringContaining('answers 404') })
    expect(asked[0]).toBe('POST /twirp/trivy.cache.v1.Cache/MissingBlobs')
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    expect(await checked('right')).toMatchObject({ ok: false, summary: expect.stringContaining('does not answer (ECONNREFUSED)') })
  })

  it('finds it on the path, also when it is installed later', async () => {
    const searchPath = `${directory}/later:${process.env.PATH}`
    const scanner = scannerOf({ program: null, searchPath })
    expect(await scanner.missing()).toBe('trivy is not in PATH')
    expect(await scanner.check(signal)).toMatchObject({ ok: false, hint: expect.stringContaining('SHIPLOCK_SCAN_WITHOUT_SCANNER=warn') })
    mkdirSync(join(directory, 'later'))
    writeFileSync(join(directory, 'later/trivy'), `#!/bin/sh\nexec ${trivy.program} "$@"\n`, { mode: 0o755 })
    expect(await scanner.missing()).toBeNull()
    expect((await scanner.check(signal)).ok).toBe(true)
  })

  it('says that the named program is not there', async () => {
    expect(await scannerOf({ program: '/nowhere/trivy' }).missing()).toBe('there is no program at /nowhere/trivy (SHIPLOCK_TRIVY)')
  })

  it('refuses a malicious release', async () => {
    trivy.plan({ version: '0.69.6' })
    expect(await scannerOf().check(signal)).toMatchObject({ ok: false, summary: expect.stringContaining('GHSA-69fq-xp46-6x23') })
  })
})

/** Starts the program as the driver does, notes it as the driver does, and is gone. */
const DYING_SERVER = `
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
const [program, directory] = process.argv.slice(1)
mkdirSync(directory + '/room', { recursive: true })
const args = ['fs', '--format', 'json', '--cache-dir', directory + '/cache', directory]
const child = spawn(program, args, { cwd: directory + '/room', detached: true, stdio: 'ignore' })
const stat = readFileSync('/proc/' + child.pid + '/stat', 'latin1')
const startTicks = stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
const bootId = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
writeFileSync(directory + '/running.json', JSON.stringify({ pid: child.pid, startTicks, bootId }))
process.exit()
`

const ENDLESS = `
if (process.argv[2] === 'version') process.stdout.write('{"Version":"0.69.3"}')
else {
  const part = 'a'.repeat(1024 * 1024)
  const write = (left) => left > 0 && process.stdout.write(part, () => write(left - 1))
  write(70)
}
`

/** A zombie counts as gone. */
function isAlive(pid: number | undefined): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}
