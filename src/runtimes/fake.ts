import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { ShiplockError } from '../core/errors.ts'
import type { InstanceId } from '../domain/ids.ts'
import type {
  CommandOutcome,
  EndpointProof,
  InstanceLogLine,
  InstanceLogOptions,
  InstanceSpec,
  InstanceStatus,
  InstanceSummary,
  Runtime,
  RuntimeCapabilities,
  RuntimeHealth,
  StopReport,
  TaskResult,
  TaskSpec,
} from './runtime.ts'

/** What shall go wrong next. Counters count down with each use; all is well by default. */
export interface FakeFaults {
  /** The next n starts are refused; nothing runs. */
  startFails: number
  /** The next n starts happen, and then the reply is lost. */
  startLosesReply: number
  /** Starts wait until this resolves or their signal aborts. */
  startBlocks: Promise<void> | null
  /** Instances exit by themselves this long after their start. */
  exitAfterMs: number | null
  exitCode: number
  /** Instances answer every request with 503. */
  neverReady: boolean
  /** Instances end only when killed at the end of the stop time-out. */
  ignoresSigterm: boolean
  /** The next n stops happen, and then the reply is lost. */
  stopLosesReply: number
  taskExitCode: number
  /** Somebody else has the port of every instance. */
  portIsTaken: boolean
}

export type FakeResponder = (spec: InstanceSpec, request: IncomingMessage, response: ServerResponse) => void

interface FakeInstance {
  spec: InstanceSpec
  fence: number
  status: InstanceStatus
  server: Server | null
  exitTimer: NodeJS.Timeout | null
  starts: number
  readonly log: InstanceLogLine[]
  readonly changed: Set<() => void>
}

/** The machine on which fake instances run; give one host to several FakeRuntime objects to play a server's restart. */
export class FakeHost {
  readonly instances = new Map<InstanceId, FakeInstance>()
  readonly tasks = new Map<string, { result: TaskResult; fence: number; runs: number }>()
  readonly faults: FakeFaults = {
    startFails: 0,
    startLosesReply: 0,
    startBlocks: null,
    exitAfterMs: null,
    exitCode: 1,
    neverReady: false,
    ignoresSigterm: false,
    stopLosesReply: 0,
    taskExitCode: 0,
    portIsTaken: false,
  }

  /** Ends everything, for the end of a test. */
  async close(): Promise<void> {
    for (const instance of this.instances.values()) await end(instance, null)
    this.instances.clear()
  }
}

/** Runs instances in memory, with faults on demand; serves real HTTP on loopback when given a responder. */
export class FakeRuntime implements Runtime {
  readonly name = 'fake'
  readonly capabilities: RuntimeCapabilities = {
    artifacts: ['tree', 'image'],
    restartsStopped: true,
    memoryLimit: false,
    cpuLimit: false,
    regions: [],
  }
  readonly host: FakeHost
  readonly #respond: FakeResponder | null

  constructor(options: { readonly host?: FakeHost; readonly respond?: FakeResponder } = {}) {
    this.host = options.host ?? new FakeHost()
    this.#respond = options.respond ?? null
  }

  async check(): Promise<RuntimeHealth> {
    return { ok: true, summary: 'instances are imagined' }
  }

  async start(spec: InstanceSpec, fence: number, signal: AbortSignal): Promise<InstanceStatus> {
    const { faults, instances } = this.host
    signal.throwIfAborted()
    this.#fenced(spec.id, fence)
    if (faults.startBlocks !== null) await unlessAborted(faults.startBlocks, signal)
    if (take(faults, 'startFails')) throw new ShiplockError('LAUNCH_FAILED', 'the fake runtime refuses to start this instance')
    const known = instances.get(spec.id)
    if (known?.status.state !== 'running') await this.#launch(spec, fence, known)
    if (take(faults, 'startLosesReply')) throw new ShiplockError('RUNTIME_UNAVAILABLE', 'the reply of the fake runtime was lost')
    return this.inspect(spec.id)
  }

  async inspect(id: InstanceId): Promise<InstanceStatus> {
    return this.host.instances.get(id)?.status ?? { state: 'missing' }
  }

  async stop(id: InstanceId, options: { readonly timeoutMs: number }, fence: number): Promise<StopReport> {
    const instance = this.#fenced(id, fence)
    const killed = instance?.status.state === 'running' && this.host.faults.ignoresSigterm
    const tookMs = killed ? options.timeoutMs : 0
    if (killed) await new Promise((resolve) => setTimeout(resolve, options.timeoutMs))
    if (instance?.status.state === 'running') await end(instance, { exitCode: killed ? 137 : 0, stopped: true })
    if (take(this.host.faults, 'stopLosesReply')) throw new ShiplockError('RUNTIME_UNAVAILABLE', 'the reply of the fake runtime was lost')
    return { killed, tookMs }
  }

  async remove(id: InstanceId, fence: number): Promise<void> {
    const instance = this.#fenced(id, fence)
    if (instance === undefined) return
    await end(instance, { exitCode: 137, stopped: true })
    this.host.instances.delete(id)
    wake(instance)
  }

  async list(): Promise<readonly InstanceSummary[]> {
    return [...this.host.instances].map(([id, instance]) => ({ id, labels: instance.spec.labels, status: instance.status }))
  }

  async waitForExit(id: InstanceId, signal: AbortSignal): Promise<InstanceStatus> {
    for (;;) {
      const instance = this.host.instances.get(id)
      if (instance?.status.state !== 'running') return this.inspect(id)
      await nextChange(instance, signal)
      signal.throwIfAborted()
    }
  }

  async *logs(id: InstanceId, options: InstanceLogOptions): AsyncIterable<InstanceLogLine> {
    const instance = this.host.instances.get(id)
    if (instance === undefined) return
    let next = instance.log.findIndex((line) => line.offset > (options.after ?? 0))
    if (next === -1) next = instance.log.length
    if (options.tail !== null) next = Math.max(next, instance.log.length - options.tail)
    while (!options.signal.aborted) {
      for (let line = instance.log[next]; line !== undefined; line = instance.log[next]) {
        next += 1
        yield line
      }
      if (!options.follow || !this.host.instances.has(id)) return
      await nextChange(instance, options.signal)
    }
  }

  /** Adds a line to an instance's log, as if it had printed it. */
  print(id: InstanceId, text: string): void {
    const instance = this.host.instances.get(id)
    if (instance !== undefined) print(instance, text)
  }

  /** Ends an instance as if it had crashed. */
  async crash(id: InstanceId, exitCode: number): Promise<void> {
    const instance = this.host.instances.get(id)
    if (instance !== undefined) await end(instance, { exitCode, stopped: false })
  }

  async exec(id: InstanceId): Promise<CommandOutcome> {
    const status = await this.inspect(id)
    if (status.state !== 'running') throw new ShiplockError('CONFLICT', `instance ${id} is not running`)
    return { exitCode: this.host.faults.neverReady ? 1 : 0, timedOut: false, output: '' }
  }

  async diagnose(): Promise<readonly string[]> {
    return []
  }

  async proveEndpoint(): Promise<EndpointProof> {
    return this.host.faults.portIsTaken ? { kind: 'foreign', reason: 'the port is held by a stranger' } : { kind: 'own' }
  }

  async runTask(spec: TaskSpec, onLine: (line: string) => void, fence: number, signal: AbortSignal): Promise<TaskResult> {
    signal.throwIfAborted()
    const known = this.host.tasks.get(spec.id)
    if (known !== undefined && fence < known.fence) throw fenced(spec.id, known.fence, fence)
    if (known !== undefined) return { ...known.result, found: true }
    onLine(`ran ${spec.command}`)
    const result = { exitCode: this.host.faults.taskExitCode, timedOut: false, tookMs: 0, found: false }
    this.host.tasks.set(spec.id, { result, fence, runs: 1 })
    return result
  }

  async removeTask(id: string, fence: number): Promise<void> {
    const known = this.host.tasks.get(id)
    if (known !== undefined && fence < known.fence) throw fenced(id, known.fence, fence)
    this.host.tasks.delete(id)
  }

  async #launch(spec: InstanceSpec, fence: number, known: FakeInstance | undefined): Promise<void> {
    const instance: FakeInstance = known ?? {
      spec,
      fence,
      status: { state: 'missing' },
      server: null,
      exitTimer: null,
      starts: 0,
      log: [],
      changed: new Set(),
    }
    instance.spec = spec
    instance.starts += 1
    const port = this.#respond === null ? (spec.port ?? 1) : await this.#serve(instance, this.#respond)
    instance.status = { state: 'running', address: { host: '127.0.0.1', port }, startedAt: new Date().toISOString() }
    this.host.instances.set(spec.id, instance)
    const { exitAfterMs, exitCode } = this.host.faults
    if (exitAfterMs !== null) instance.exitTimer = setTimeout(() => void end(instance, { exitCode, stopped: false }), exitAfterMs)
    print(instance, `started ${spec.startCommands.join(' & ')}`)
  }

  #serve(instance: FakeInstance, respond: FakeResponder): Promise<number> {
    const server = createServer((request, response) => {
      if (this.host.faults.neverReady) response.writeHead(503).end('not ready\n')
      else respond(instance.spec, request, response)
    })
    instance.server = server
    return new Promise((resolve, reject) => {
      server.once('error', reject)
      server.listen(instance.spec.port ?? 0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port))
    })
  }

  #fenced(id: InstanceId, fence: number): FakeInstance | undefined {
    const instance = this.host.instances.get(id)
    if (instance !== undefined && fence < instance.fence) throw fenced(id, instance.fence, fence)
    if (instance !== undefined) instance.fence = fence
    return instance
  }
}

async function end(instance: FakeInstance, outcome: { readonly exitCode: number; readonly stopped: boolean } | null): Promise<void> {
  if (instance.exitTimer !== null) clearTimeout(instance.exitTimer)
  instance.exitTimer = null
  const { server } = instance
  instance.server = null
  if (server !== null) {
    const closed = new Promise((resolve) => server.close(resolve))
    server.closeAllConnections()
    await closed
  }
  if (outcome === null || instance.status.state !== 'running') return
  instance.status = { state: 'exited', signal: null, outOfMemory: false, exitedAt: new Date().toISOString(), ...outcome }
  wake(instance)
}

function print(instance: FakeInstance, text: string): void {
  const offset = (instance.log.at(-1)?.offset ?? 0) + Buffer.byteLength(text) + 1
  instance.log.push({ offset, at: new Date().toISOString(), text })
  wake(instance)
}

function wake(instance: FakeInstance): void {
  for (const resolve of [...instance.changed]) resolve()
}

function nextChange(instance: FakeInstance, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      instance.changed.delete(done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    if (signal.aborted) return resolve()
    instance.changed.add(done)
    signal.addEventListener('abort', done, { once: true })
  })
}

function unlessAborted(wait: Promise<void>, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    wait.then(resolve, reject)
  })
}

function take(faults: FakeFaults, name: 'startFails' | 'startLosesReply' | 'stopLosesReply'): boolean {
  if (faults[name] <= 0) return false
  faults[name] -= 1
  return true
}

function fenced(id: string, owner: number, fence: number): ShiplockError {
  return new ShiplockError('FENCED', `${id} belongs to fence ${owner} now; ${fence} is refused`, { details: { id } })
}
