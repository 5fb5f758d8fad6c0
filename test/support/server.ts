import { type ChildProcess, spawn } from 'node:child_process'
import { randomInt } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { Event, LogLine } from '../../src/contract/event.ts'
import type { ServiceDetail } from '../../src/contract/service.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { builtFile, ensureBuilt } from './build.ts'
import { PlainClient } from './edge-client.ts'
import { endAll, leftoversOf, processesOf } from './leak-check.ts'

export interface TestServerOptions {
  /** Settings besides the data directory and the addresses. */
  readonly env?: Readonly<Record<string, string>>
  /** Of an earlier server; its owner removes it. Default: a fresh one below /tmp. */
  readonly dataDirectory?: string
  /** Default: a free one, kept over restarts. */
  readonly edgePort?: number
  /** Of another version: its `dist/main.js`. */
  readonly program?: string
  /** Whom it runs as; needs root. */
  readonly user?: { readonly uid: number; readonly gid: number }
}

export interface ApiReply {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look into answers of every shape
  readonly body: any
}

type DeployRequest = Readonly<Record<string, unknown>> & { readonly service: string }

/** How a start ended that never became ready: the server's last words. */
export class StartFailure extends Error {
  readonly code: string | null
  readonly hint: string | null
  readonly exitCode: number | null
  readonly signal: NodeJS.Signals | null

  constructor(exitCode: number | null, signal: NodeJS.Signals | null, log: string) {
    const fatal = lastFatal(log)
    super(fatal?.message ?? `the server ended with ${signal ?? exitCode} before it was ready:\n${log.slice(-4000)}`)
    this.code = fatal?.code ?? null
    this.hint = fatal?.hint ?? null
    this.exitCode = exitCode
    this.signal = signal
  }
}

const open = new Set<TestServer>()
const START_MS = 60_000
const STOP_MS = 60_000

/** A real `node dist/main.js` on a data directory of its own. Everything it starts ends with `dispose`, whatever the test did to it. */
export async function startTestServer(options: TestServerOptions = {}): Promise<TestServer> {
  const server = await TestServer.prepare(options)
  await server.start()
  return server
}

/** For `afterEach` or `afterAll`: no test leaves a server, an edge, a database or an app behind. */
export async function disposeServers(): Promise<void> {
  for (const server of open) await server.dispose()
}

export class TestServer {
  readonly dataDirectory: string
  readonly edgePort: number
  readonly #options: TestServerOptions
  #child: ChildProcess | null = null
  #exited: Promise<unknown> = Promise.resolve()
  #startedAt = 0
  #isForeground = false
  #api: { readonly url: string; readonly token: string } | null = null

  private constructor(options: TestServerOptions, dataDirectory: string, edgePort: number) {
    this.#options = options
    this.dataDirectory = dataDirectory
    this.edgePort = edgePort
    open.add(this)
  }

  /** Ready to be started; nothing runs yet. */
  static async prepare(options: TestServerOptions = {}): Promise<TestServer> {
    ensureBuilt()
    const directory = options.dataDirectory ?? freshDataDirectory()
    return new TestServer(options, directory, options.edgePort ?? (await freePort()))
  }

  get pid(): number {
    return this.#child?.pid ?? 0
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** The signal that ended it; null when none did. */
  get endedBy(): NodeJS.Signals | null {
    return this.#child?.signalCode ?? null
  }

  get apiUrl(): string {
    if (this.#api === null) throw new Error('the server has never been ready')
    return this.#api.url
  }

  get token(): string {
    return readFileSync(join(this.dataDirectory, 'admin-token'), 'utf8').trim()
  }

  /** When the last start was begun, as `performance.now()`. */
  get startedAt(): number {
    return this.#startedAt
  }

  /** Resolves with ms until it was ready. `program` as in the options. Throws StartFailure when it ends before. */
  async start(env: Readonly<Record<string, string>> = {}, program = this.#options.program ?? builtFile('main.ts')): Promise<number> {
    this.#startedAt = performance.now()
    const all: Record<string, string> = { ...this.#environment(), ...this.#options.env, ...env }
    this.#isForeground = all.SHIPLOCK_FOREGROUND === '1'
    const log = openSync(this.logFile, 'a')
    const child = spawn(process.execPath, [program], {
      cwd: '/',
      env: all,
      stdio: ['ignore', log, log, 'ipc'],
      ...this.#options.user,
    })
    closeSync(log)
    this.#child = child
    this.#exited = once(child, 'exit')
    const ready = new Promise<{ apiUrl: string }>((resolve) => child.on('message', (message) => resolve(message as { apiUrl: string })))
    const timer = setTimeout(() => child.kill('SIGKILL'), START_MS)
    const said = await Promise.race([ready, this.#exited.then(() => null)])
    clearTimeout(timer)
    if (said === null) throw new StartFailure(child.exitCode, child.signalCode, this.log())
    this.#api = { url: said.apiUrl, token: this.token }
    return performance.now() - this.#startedAt
  }

  /** Resolves when the server process has ended. */
  async untilExit(withinMs = 60_000): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    const late = new Promise((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`the server still runs after ${withinMs} ms\n${this.log().slice(-3000)}`)), withinMs)
    })
    await Promise.race([this.#exited, late]).finally(() => clearTimeout(timer))
  }

  async kill9(): Promise<void> {
    this.#child?.kill('SIGKILL')
    await this.#exited
  }

  /** `server`: apps and edge go on. `everything`: as Ctrl-C, for a server with SHIPLOCK_FOREGROUND=1. Resolves when it has ended in order. */
  async stop(scope: 'server' | 'everything'): Promise<void> {
    if (!this.isRunning) throw new Error('the server does not run')
    if (this.#isForeground !== (scope === 'everything')) throw new Error('SHIPLOCK_FOREGROUND decides what a stop ends')
    this.#child?.kill(scope === 'everything' ? 'SIGINT' : 'SIGTERM')
    await this.untilExit(STOP_MS)
    if (this.#child?.exitCode !== 0)
      throw new Error(`the stop ended with ${this.#child?.signalCode ?? this.#child?.exitCode}\n${this.log().slice(-3000)}`)
  }

  /** Ends all that belongs to the data directory and removes it. Throws when something of it could not be ended or was left in order. */
  async dispose(): Promise<void> {
    open.delete(this)
    await this.kill9()
    const left = await endAll(this.dataDirectory)
    if (this.#options.dataDirectory === undefined) await removeTree(this.dataDirectory)
    if (left.length > 0) throw new Error(`left behind:\n${left.join('\n')}`)
  }

  // ── what it says
  get logFile(): string {
    return `${this.dataDirectory}/test-server.log`
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, 'utf8') : ''
  }

  /** What runs or stands in its name. */
  leftovers(): readonly string[] {
    return leftoversOf(this.dataDirectory)
  }

  processes(): ReturnType<typeof processesOf> {
    return processesOf(this.dataDirectory)
  }

  /** One request to a service through the edge, on a connection of its own. */
  async ask(service: string, path: string): Promise<{ readonly status: number; readonly version: string; readonly body: string }> {
    const client = new PlainClient(this.edgePort, `${service}.localhost`)
    try {
      const { status, headers, body } = await client.request('GET', path)
      return { status, version: headers.get('x-version') ?? '', body: body.toString() }
    } finally {
      client.close()
    }
  }

  // ── API
  async api(method: string, path: string, body?: unknown, headers: Readonly<Record<string, string>> = {}): Promise<ApiReply> {
    const { url, token } = this.#api ?? { url: '', token: '' }
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    const text = await response.text()
    return { status: response.status, body: text === '' ? null : JSON.parse(text) }
  }

  /** The answer of a call that must succeed. */
  // biome-ignore lint/suspicious/noExplicitAny: as ApiReply
  async call(method: string, path: string, body?: unknown): Promise<any> {
    const reply = await this.api(method, path, body)
    if (reply.status >= 300) throw new Error(`${method} ${path}: ${reply.status} ${JSON.stringify(reply.body)}`)
    return reply.body
  }

  deploy(request: DeployRequest): Promise<Deployment> {
    return this.call('POST', '/v1/deployments', request)
  }

  rollback(request: DeployRequest): Promise<Deployment> {
    return this.call('POST', '/v1/rollbacks', request)
  }

  deployment(id: string): Promise<Deployment> {
    return this.call('GET', `/v1/deployments/${id}`)
  }

  service(name: string): Promise<ServiceDetail> {
    return this.call('GET', `/v1/services/${name}`)
  }

  /** All events of a deployment, or of everything, in order. */
  async events(deployment?: string): Promise<Event[]> {
    const events: Event[] = []
    const about = deployment === undefined ? '' : `&deployment=${deployment}`
    for (let after = 0; ; ) {
      const page = await this.call('GET', `/v1/events?limit=200&after=${after}${about}`)
      events.push(...page.items)
      const last = page.items.at(-1)
      if (last === undefined) return events
      after = last.sequence
    }
  }

  async logLines(id: string): Promise<LogLine[]> {
    const lines: LogLine[] = []
    for (let after = 0; ; ) {
      const page = await this.call('GET', `/v1/deployments/${id}/logs?limit=200&after=${after}`)
      lines.push(...page.items)
      const last = page.items.at(-1)
      if (last === undefined) return lines
      after = last.sequence
    }
  }

  /** Until `condition` holds for the deployment. A failure tells where it stood and what its log says. */
  async waitFor(id: string, condition: (deployment: Deployment) => boolean, withinMs = 60_000): Promise<Deployment> {
    const deadline = performance.now() + withinMs
    for (;;) {
      const deployment = await this.deployment(id)
      if (condition(deployment)) return deployment
      if (performance.now() > deadline) throw new Error(`waited ${withinMs} ms in vain: ${await this.#explain(deployment)}`)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  }

  settled(id: string, withinMs?: number): Promise<Deployment> {
    return this.waitFor(id, (deployment) => deployment.settled, withinMs)
  }

  /** Deploys and waits until it has settled as `running`. */
  async deployed(request: DeployRequest, withinMs?: number): Promise<Deployment> {
    const { id } = await this.deploy(request)
    const deployment = await this.settled(id, withinMs)
    if (deployment.status !== 'running') throw new Error(`not running: ${await this.#explain(deployment)}`)
    return deployment
  }

  async #explain(deployment: Deployment): Promise<string> {
    const { status, stage, settled, statusReason, error } = deployment
    const lines = await this.logLines(deployment.id).catch(() => [])
    const events = await this.events(deployment.id).catch(() => [])
    return [
      JSON.stringify({ status, stage, settled, statusReason, error }),
      ...events.slice(-12).map((event) => `  event ${event.type} ${event.message}`),
      ...lines.slice(-20).map((line) => `  log ${line.stream}: ${line.text}`),
      this.log().split('\n').slice(-15).join('\n'),
    ].join('\n')
  }

  #environment(): Record<string, string> {
    return {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: this.dataDirectory,
      SHIPLOCK_DATA_DIR: this.dataDirectory,
      SHIPLOCK_API_LISTEN: '127.0.0.1:0',
      // A test that wants one names it; the user's is left alone.
      SHIPLOCK_CONTAINER_ENGINE: 'none',
      SHIPLOCK_EDGE_LISTEN: `127.0.0.1:${this.edgePort}`,
      SHIPLOCK_EDGE_WORKERS: '2',
      // Where tests keep their repositories, and where their git hosts and registries are.
      SHIPLOCK_FILE_SOURCE_DIRECTORIES: '/tmp',
      SHIPLOCK_SOURCE_REACH: 'any',
    }
  }
}

/** Short, since socket paths are, and passable, since database and apps run as other users. */
export function freshDataDirectory(): string {
  const directory = mkdtempSync('/tmp/sl-')
  chmodSync(directory, 0o711)
  return directory
}

/** Below the ports that the kernel gives to outgoing connections and those that instances get. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(10_000, 20_000)
    const probe = createServer()
    const isFree = await new Promise<boolean>((resolve) => {
      probe.once('error', () => resolve(false))
      probe.listen(port, '127.0.0.1', () => resolve(true))
    })
    await new Promise((resolve) => probe.close(resolve))
    if (isFree) return port
  }
}

function lastFatal(log: string): { readonly code: string; readonly message: string; readonly hint: string } | null {
  const line = log.split('\n').findLast((candidate) => candidate.includes('"level":"fatal"'))
  return line === undefined ? null : JSON.parse(line)
}
