import { execFileSync, spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import { type AddressInfo, createServer as createTcpServer, type Server as TcpServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import type { InstanceId } from '../../src/domain/ids.ts'
import type { HttpProbe, Probe, ReadinessCheck } from '../../src/domain/service-config.ts'
import type { CommandOutcome, InstanceStatus, Runtime } from '../../src/runtimes/runtime.ts'
import { probeOnce } from '../../src/stages/probe.ts'
import { waitReady } from '../../src/stages/wait-ready.ts'

const ID = 'ins_probed' as InstanceId
const HTTP: HttpProbe = { kind: 'httpGet', path: '/', port: null, host: null, scheme: 'http', expectStatus: null }
const ends: (() => void)[] = []
afterEach(() => {
  for (const end of ends.splice(0)) end()
})

async function listen(server: Server | TcpServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  ends.push(() => {
    server.close()
    if ('closeAllConnections' in server) server.closeAllConnections()
  })
  return (server.address() as AddressInfo).port
}
const serve = (listener: RequestListener) => listen(createServer(listener))

/** A runtime that only answers what probes ask of it. */
function runtimeOf(parts: Partial<Pick<Runtime, 'exec' | 'inspect' | 'waitForExit'>> = {}, port = 1): Runtime {
  return {
    exec: async () => ({ exitCode: 0, timedOut: false, output: '' }),
    inspect: async () => ({ state: 'running', address: { host: '127.0.0.1', port }, startedAt: '' }),
    proveEndpoint: async () => ({ kind: 'own' }),
    waitForExit: (_id: InstanceId, signal: AbortSignal) =>
      new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason), { once: true })),
    ...parts,
  } as unknown as Runtime
}

function probe(given: Probe, port: number, timeoutMs = 2000, runtime = runtimeOf()) {
  const address = { host: '127.0.0.1', port }
  return probeOnce({ probe: given, instanceId: ID, address, timeoutMs, runtime, clock: systemClock, signal: new AbortController().signal })
}

type Answer = (request: IncomingMessage, response: ServerResponse, port: number) => void
const status =
  (code: number, body = ''): Answer =>
  (_request, response) =>
    response.writeHead(code).end(body)
const redirect =
  (location: string | ((port: number) => string), code = 302): Answer =>
  (request, response, port) => {
    if (request.url !== '/') return void response.writeHead(200).end()
    response.writeHead(code, { location: typeof location === 'string' ? location : location(port) }).end('moved')
  }

describe('an HTTP probe', () => {
  test.each<[string, Answer, Partial<HttpProbe>, { passed: boolean; result: RegExp; body?: string | null }]>([
    ['200', status(200), {}, { passed: true, result: /^HTTP 200$/, body: null }],
    ['204', status(204), {}, { passed: true, result: /^HTTP 204$/ }],
    ['500, with its words', status(500, 'no such table: users'), {}, { passed: false, result: /^HTTP 500$/, body: 'no such table: users' }],
    ['404', status(404), {}, { passed: false, result: /^HTTP 404$/, body: null }],
    ['the one status that is expected', status(401), { expectStatus: 401 }, { passed: true, result: /^HTTP 401$/ }],
    ['200 where 204 is expected', status(200, 'hm'), { expectStatus: 204 }, { passed: false, result: /^HTTP 200$/, body: 'hm' }],
    [
      'a redirect where it is expected',
      redirect('http://elsewhere.example/'),
      { expectStatus: 302 },
      { passed: true, result: /^HTTP 302$/ },
    ],
    ['a redirect on the same host', redirect('/login', 307), {}, { passed: true, result: /^HTTP 200$/ }],
    ['an absolute one', redirect((port) => `http://127.0.0.1:${port}/in`), {}, { passed: true, result: /^HTTP 200$/ }],
    [
      'a redirect to the host that the probe names',
      redirect('https://shop.example/in'),
      { host: 'shop.example' },
      { passed: true, result: /^HTTP 200$/ },
    ],
    [
      'a redirect to another host',
      redirect('https://login.example/in'),
      {},
      { passed: false, result: /^HTTP 302 to another host: login\.example$/, body: 'moved' },
    ],
    [
      'a redirect to another port',
      redirect('http://127.0.0.1:9/'),
      {},
      { passed: false, result: /^HTTP 302 to another host: 127\.0\.0\.1:9$/ },
    ],
    [
      'redirects for ever',
      (request, response) => response.writeHead(302, { location: `/${Number(request.url?.slice(1)) + 1}` }).end(),
      {},
      { passed: false, result: /^HTTP 302: more than 5 redirects$/ },
    ],
    ['a redirect without a place', (_request, response) => response.writeHead(302).end(), {}, { passed: false, result: /^HTTP 302$/ }],
    ['a redirect to nonsense', redirect('http://['), {}, { passed: false, result: /./ }],
    [
      'a connection that is closed without an answer',
      (request) => request.socket.destroy(),
      {},
      { passed: false, result: /UND_ERR_SOCKET|ECONNRESET/ },
    ],
    [
      'a stream that never ends',
      (_request, response) => void response.writeHead(200).write('data: 1\n\n'),
      {},
      { passed: true, result: /^HTTP 200$/ },
    ],
    [
      '500 whose body stalls',
      (_request, response) => void response.writeHead(500).write('half a'),
      {},
      { passed: false, result: /^HTTP 500$/, body: 'half a' },
    ],
  ])('%s', async (_name, answer, more, expected) => {
    let port = 0
    port = await serve((request, response) => answer(request, response, port))
    const attempt = await probe({ ...HTTP, ...more }, port, 500)
    expect(attempt).toMatchObject({ instanceId: ID, address: `http://127.0.0.1:${port}/`, outcome: expected.passed ? 'passed' : 'failed' })
    expect(attempt.result).toMatch(expected.result)
    if (expected.body !== undefined) expect(attempt.body).toBe(expected.body)
    expect(Number.isNaN(Date.parse(attempt.at))).toBe(false)
  })

  test('says that no answer came in its time, and that nobody listens', async () => {
    const silent = await serve(() => {})
    expect(await probe(HTTP, silent, 150)).toMatchObject({ outcome: 'failed', result: 'no answer in 150 ms', body: null })
    const late = await serve((_request, response) => void setTimeout(() => response.end('late'), 300))
    expect(await probe(HTTP, late, 100)).toMatchObject({ outcome: 'failed', result: 'no answer in 100 ms' })
    const closed = createServer()
    const port = await listen(closed)
    await new Promise((resolve) => closed.close(resolve))
    expect(await probe(HTTP, port)).toMatchObject({ outcome: 'failed', result: 'ECONNREFUSED' })
  })

  test('asks the path, the port and the Host that it names', async () => {
    const seen: (string | undefined)[] = []
    const port = await serve((request, response) => {
      seen.push(request.url, request.headers.host, request.headers['user-agent'])
      response.end()
    })
    const attempt = await probe({ ...HTTP, path: '/healthz?deep=1', port, host: 'shop.example' }, 9)
    expect(attempt).toMatchObject({ outcome: 'passed', address: `http://127.0.0.1:${port}/healthz?deep=1` })
    expect(seen).toEqual(['/healthz?deep=1', 'shop.example', 'shiplock-probe'])
  })

  test('I9: keeps only the first bytes of a body, without what a terminal would obey', async () => {
    const port = await serve((_request, response) => response.writeHead(503).end(`\u001b[31mred${'x'.repeat(5000)}`))
    const { body } = await probe(HTTP, port)
    expect(body?.length).toBeLessThan(250)
    expect(body).toContain('red')
    expect(body).not.toContain('\u001b')
  })

  test('takes a self-signed certificate: it is the instance that it asks', async ({ skip }) => {
    if (spawnSync('openssl', ['version']).status !== 0) return skip('making a certificate needs openssl')
    const directory = mkdtempSync(join(tmpdir(), 'shiplock-tls-'))
    ends.push(() => rmSync(directory, { recursive: true }))
    const [keyFile, certFile] = [join(directory, 'key.pem'), join(directory, 'cert.pem')]
    const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=elsewhere']
    execFileSync('openssl', [...request, '-keyout', keyFile, '-out', certFile, '-days', '2'], { stdio: 'ignore' })
    const options = { key: readFileSync(keyFile), cert: readFileSync(certFile) }
    const port = await listen(createTlsServer(options, (_request, response) => response.end('ok')))
    expect(await probe({ ...HTTP, scheme: 'https' }, port)).toMatchObject({ outcome: 'passed', address: `https://127.0.0.1:${port}/` })
    expect(await probe({ ...HTTP, scheme: 'https', host: 'shop.example' }, port)).toMatchObject({ outcome: 'passed' })
    expect((await probe(HTTP, port)).outcome).toBe('failed')
  })
})

describe('the other probes', () => {
  test('tcp: passes when the port takes connections', async () => {
    const server = createTcpServer((socket) => socket.end())
    const port = await listen(server)
    expect(await probe({ kind: 'tcp', port: null }, port)).toMatchObject({
      outcome: 'passed',
      result: 'connected',
      address: `tcp://127.0.0.1:${port}`,
    })
    await new Promise((resolve) => server.close(resolve))
    expect(await probe({ kind: 'tcp', port }, 9)).toMatchObject({ outcome: 'failed', result: 'ECONNREFUSED' })
  })

  test.each<[string, CommandOutcome | Error, object]>([
    ['exit 0', { exitCode: 0, timedOut: false, output: 'fine' }, { outcome: 'passed', result: 'exit 0', body: null }],
    ['exit 3', { exitCode: 3, timedOut: false, output: 'no database' }, { outcome: 'failed', result: 'exit 3', body: 'no database' }],
    [
      'no end',
      { exitCode: null, timedOut: true, output: 'thinking' },
      { outcome: 'failed', result: 'no end in 2000 ms', body: 'thinking' },
    ],
    [
      'an instance that is gone',
      new Error('instance ins_probed is not running'),
      { outcome: 'failed', result: 'instance ins_probed is not running' },
    ],
  ])('exec: %s', async (_name, outcome, expected) => {
    const exec = async () => {
      if (outcome instanceof Error) throw outcome
      return outcome
    }
    const attempt = await probe({ kind: 'exec', command: 'check.sh' }, 9, 2000, runtimeOf({ exec }))
    expect(attempt).toMatchObject({ address: 'exec check.sh', ...expected })
  })
})

const CHECK: ReadinessCheck = { probe: HTTP, retryPeriodMs: 50, failureTimeoutMs: 2000, attemptTimeoutMs: 500, attempts: 1 }
const wait = (check: Partial<ReadinessCheck>, runtime: Runtime, signal = new AbortController().signal) =>
  waitReady({ id: ID }, { ...CHECK, ...check }, { runtime, clock: systemClock, signal })

describe('waiting until an instance is ready', () => {
  test('every attempt is recorded with its time, address, result and body, until one passes', async () => {
    let asked = 0
    const port = await serve((_request, response) => {
      asked += 1
      response.writeHead(asked < 4 ? 503 : 200).end(asked < 4 ? `warming up ${asked}` : 'ready')
    })
    const readiness = await wait({}, runtimeOf({}, port))
    expect(readiness).toMatchObject({ ready: true, address: { host: '127.0.0.1', port } })
    expect(readiness.attempts.map(({ result, body }) => [result, body])).toEqual([
      ['HTTP 503', 'warming up 1'],
      ['HTTP 503', 'warming up 2'],
      ['HTTP 503', 'warming up 3'],
      ['HTTP 200', null],
    ])
    const times = readiness.attempts.map(({ at }) => Date.parse(at))
    expect([...times].sort((a, b) => a - b)).toEqual(times)
  })

  test('the first attempts come faster than retryPeriod', async () => {
    let asked = 0
    const port = await serve((_request, response) => {
      asked += 1
      response.writeHead(asked < 4 ? 503 : 200).end()
    })
    const begun = performance.now()
    expect((await wait({ retryPeriodMs: 60_000, failureTimeoutMs: 60_000 }, runtimeOf({}, port))).ready).toBe(true)
    expect(performance.now() - begun).toBeLessThan(20_000)
  })

  test('failureTimeout ends it and says what the last attempt got; no attempt outlives it', async () => {
    const port = await serve(() => {})
    const readiness = await wait({ failureTimeoutMs: 300, attemptTimeoutMs: 60_000 }, runtimeOf({}, port))
    expect(readiness).toMatchObject({
      ready: false,
      exited: false,
      reason: expect.stringMatching(/^not ready after 0\.3 s: http:\S+ gave no answer in \d+ ms$/),
    })
  })

  test.each<[Partial<Extract<InstanceStatus, { state: 'exited' }>>, string]>([
    [{ exitCode: 13 }, 'the instance ended with exit code 13'],
    [{ signal: 'SIGSEGV' }, 'the instance was ended by SIGSEGV'],
    [{ outOfMemory: true }, 'the instance was killed: out of memory (raise run.memoryMb)'],
    [{}, 'the instance ended; its exit code is not known'],
  ])('an instance that ends meanwhile is not waited for: %j', async (more, reason) => {
    const exited: InstanceStatus = {
      state: 'exited',
      exitCode: null,
      signal: null,
      outOfMemory: false,
      stopped: false,
      exitedAt: null,
      ...more,
    }
    const port = await serve(() => {})
    const readiness = await wait(
      { failureTimeoutMs: 60_000, attemptTimeoutMs: 60_000 },
      runtimeOf({ waitForExit: async () => exited }, port),
    )
    expect(readiness).toMatchObject({ ready: false, exited: true, reason })
  })

  test('gives up at once when it is told to', async () => {
    const port = await serve(() => {})
    const stop = new AbortController()
    const waiting = wait({ failureTimeoutMs: 60_000, attemptTimeoutMs: 60_000 }, runtimeOf({}, port), stop.signal)
    stop.abort(new Error('canceled'))
    await expect(waiting).rejects.toThrow('canceled')
  })
})
