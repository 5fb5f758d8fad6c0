import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { systemClock } from '../../core/clock.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { isAlive, type ProcessIdentity, signalProcess } from '../../core/process-identity.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { SwapRequest } from '../edge.ts'
import { ControlServer } from './control-server.ts'
import { Crew, type Member } from './crew.ts'
import { controlSocketPath, type EdgeProcessConfig } from './edge-config.ts'
import { edgeCrashPoints } from './edge-crash-points.ts'
import { EdgeLock } from './edge-lock.ts'
import { bindListener, type Listener } from './listener.ts'
import type { WorkerPulse } from './losses.ts'
import { portOwners } from './port-owner.ts'
import { type DrainRequest, Primary } from './primary.ts'
import type { RpcPeer } from './rpc.ts'
import { TableFile } from './table-file.ts'

/** What `ping` answers. */
export interface EdgeStatus {
  readonly pid: number
  readonly ready: boolean
  readonly host: string
  readonly port: number
  readonly workers: readonly { readonly pid: number; readonly slot: number; readonly isRetiring: boolean }[]
  readonly restarts: number
  readonly probeToken: string
  readonly entryPath: string
  readonly warning: string | null
}

/** Start-up messages, a JSON object a line: the control socket is up, then everything is; or why not. */
export type StartReport =
  | { readonly state: 'control' }
  | { readonly state: 'ready' }
  | { readonly state: 'failed'; readonly code: string; readonly message: string; readonly hint: string }

const ORPHAN_JOIN_MS = 3000
const REBIND_MS = 5000
const LET_GO_MS = 1000

/** The primary process: lock, table, listening socket, control socket, workers. */
export class EdgeProcess {
  readonly #config: EdgeProcessConfig
  readonly #entryPath: string
  readonly #logger: Logger
  readonly #report: (report: StartReport) => void
  readonly #lock: EdgeLock
  readonly #control: ControlServer
  #listener: Listener | null = null
  #crew: Crew | null = null
  #primary: Primary | null = null
  #probeToken = ''
  #warning: string | null = null
  #isOwner = false
  #isReady = false
  #isLeaving = false

  constructor(config: EdgeProcessConfig, entryPath: string, logger: Logger, report: (report: StartReport) => void) {
    this.#config = config
    this.#entryPath = entryPath
    this.#logger = logger
    this.#report = report
    this.#lock = new EdgeLock(config.stateDirectory)
    this.#control = new ControlServer(controlSocketPath(config.stateDirectory), (op, params, peer) => this.#answer(op, params, peer))
  }

  async run(): Promise<void> {
    const { stateDirectory } = this.#config
    await mkdir(stateDirectory, { recursive: true, mode: 0o700 })
    await this.#lock.acquire()
    this.#isOwner = true
    const file = new TableFile(stateDirectory)
    const { ledger, warning } = await file.restore()
    this.#warning = warning
    if (warning !== null) this.#logger.error(warning)
    this.#probeToken = await this.#readProbeToken()
    const orphans = await this.#readWorkers()
    this.#listener = await this.#bind(orphans)
    this.#crew = new Crew({
      entryPath: this.#entryPath,
      listenFd: this.#listener.fd,
      logger: this.#logger,
      onLoss: (pulse) => this.#primary?.noteLoss(pulse),
      workerConfig: {
        controlSocket: controlSocketPath(stateDirectory),
        listenPort: this.#listener.port,
        workers: this.#config.workers,
        probeToken: this.#probeToken,
        responseTimeoutMs: this.#config.responseTimeoutMs,
        trustsForwarded: this.#config.trustsForwarded,
        cookieBase: this.#config.cookieBase,
      },
    })
    this.#primary = new Primary(ledger, this.#crew, file, this.#logger, edgeCrashPoints(stateDirectory))
    const adopted = this.#primary.serial.run(() => this.#adopt(orphans))
    await this.#control.listen()
    this.#report({ state: 'control' })
    this.#crew.startAll()
    await this.#crew.untilServing(LIMITS.edgeStartMs)
    await adopted
    // Joins that adoption let through stand in the queue before any change that `ready` lets in.
    await this.#primary.serial.run(async () => {})
    await this.#retireOld()
    this.#crew.startPulse()
    this.#isReady = true
    this.#report({ state: 'ready' })
    this.#logger.info('the edge serves', { host: this.#config.host, port: this.#listener.port, workers: this.#config.workers })
  }

  get status(): EdgeStatus {
    return {
      pid: process.pid,
      ready: this.#isReady && !this.#isLeaving,
      host: this.#config.host,
      port: this.#listener?.port ?? this.#config.port,
      workers: (this.#crew?.members ?? []).map(({ identity, slot, isRetiring }) => ({ pid: identity.pid, slot, isRetiring })),
      restarts: this.#crew?.restarts ?? 0,
      probeToken: this.#probeToken,
      entryPath: this.#entryPath,
      warning: this.#warning,
    }
  }

  async stop(graceMs: number): Promise<void> {
    if (this.#isLeaving) return
    this.#isLeaving = true
    const crew = this.#crew
    crew?.stopReplacing()
    if (!this.#isOwner) return
    await crew?.retire(crew.members, graceMs)
    this.#listener?.close()
    await crew?.untilGone(graceMs + LIMITS.cutGraceMs * 2 + 1000)
    await this.#control.close()
    if (crew !== null) await rm(this.#workersPath, { force: true })
    await this.#lock.release()
  }

  /** Hands the listening socket to a successor. Old workers accept until its workers do, then finish what they have. */
  async restart(caller: RpcPeer | null, entryPath: string): Promise<void> {
    const primary = this.#primary
    const crew = this.#crew
    if (primary === null || crew === null || this.#isLeaving) throw new ShiplockError('CONFLICT', 'the edge is starting or ending already')
    this.#isLeaving = true
    await primary.serial.run(async () => {
      crew.stopReplacing()
      await crew.askAll('handover', { isOn: true })
      await this.#control.close()
      await this.#lock.release()
      try {
        await this.#startSuccessor(caller, entryPath)
      } catch (error) {
        this.#logger.error('the successor did not start; this edge goes on', { error })
        await this.#lock.acquire()
        await this.#control.listen()
        crew.handOver(false)
        await crew.askAll('handover', { isOn: false })
        crew.resumeReplacing()
        this.#isLeaving = false
        throw error
      }
    })
  }

  #startSuccessor(caller: RpcPeer | null, entryPath: string): Promise<void> {
    const listener = this.#listener
    if (listener === null) return Promise.reject(new Error('nothing to hand over'))
    const config: EdgeProcessConfig = { ...this.#config, port: listener.port, inheritedFd: 4, reportFd: 3 }
    const child = spawn(process.execPath, [entryPath, JSON.stringify(config)], {
      detached: true,
      stdio: ['ignore', 'inherit', 'inherit', 'pipe', listener.fd],
      env: {},
    })
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => child.kill('SIGKILL'), LIMITS.edgeStartMs)
      child.once('exit', (exitCode, signal) => {
        clearTimeout(timer)
        reject(new ShiplockError('EDGE_UNAVAILABLE', `the new edge process ended at its start (${signal ?? `exit ${exitCode}`})`))
      })
      child.once('error', reject)
      let text = ''
      child.stdio[3]?.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        // Only now may the workers look for the new one: before, they would find nobody.
        if (text.includes('"control"')) {
          this.#crew?.handOver(true)
          this.#control.disconnect(caller)
        }
        if (!text.includes('"ready"')) return
        clearTimeout(timer)
        child.removeAllListeners('exit')
        child.unref()
        resolve()
      })
    })
  }

  // ── what a dead or replaced primary left
  get #workersPath(): string {
    return join(this.#config.stateDirectory, 'workers.json')
  }

  async #readWorkers(): Promise<readonly ProcessIdentity[]> {
    const text = await readFile(this.#workersPath, 'utf8').catch(() => '[]')
    try {
      return (JSON.parse(text) as ProcessIdentity[]).filter(isAlive)
    } catch {
      return []
    }
  }

  async #writeWorkers(): Promise<void> {
    await writeFileAtomic(this.#workersPath, JSON.stringify(this.#crew?.identities ?? []))
  }

  /** No change is acknowledged before every process that might serve by an old table has joined or is dead. */
  async #adopt(orphans: readonly ProcessIdentity[]): Promise<void> {
    const crew = this.#crew
    const deadline = systemClock.monotonic() + ORPHAN_JOIN_MS
    const missing = () => orphans.filter((orphan) => isAlive(orphan) && !this.#joining.has(orphan.pid))
    while (missing().length > 0 && systemClock.monotonic() < deadline) await systemClock.sleep(5)
    for (const orphan of missing()) {
      this.#logger.warn('a worker of the previous edge did not join and is killed', { pid: orphan.pid })
      await crew?.kill(orphan)
    }
  }
  readonly #joining = new Set<number>()

  async #retireOld(): Promise<void> {
    const old = this.#crew?.members.filter((member) => member.isRetiring) ?? []
    await this.#crew?.retire(old)
  }

  async #bind(orphans: readonly ProcessIdentity[]): Promise<Listener> {
    const { inheritedFd, host, port } = this.#config
    if (inheritedFd !== null) return { fd: inheritedFd, port, close: () => {} }
    const started = systemClock.monotonic()
    for (;;) {
      try {
        return bindListener(host, port)
      } catch (error) {
        // Workers of a killed primary let the port go as soon as they notice; anyone else keeps it.
        const isOurs = isShiplockError(error, 'PORT_IN_USE') && orphans.some(isAlive)
        const tookMs = systemClock.monotonic() - started
        if (!isOurs || tookMs > REBIND_MS) throw error
        if (tookMs > LET_GO_MS) killHolders(orphans, port)
        await systemClock.sleep(10)
      }
    }
  }

  async #readProbeToken(): Promise<string> {
    const path = join(this.#config.stateDirectory, 'probe-token')
    const known = await readFile(path, 'utf8').catch(() => '')
    if (/^[0-9a-f]{64}$/.test(known)) return known
    const made = randomBytes(32).toString('hex')
    await writeFile(path, made, { mode: 0o600 })
    return made
  }

  // ── control
  async #answer(op: string, params: unknown, peer: RpcPeer): Promise<unknown> {
    if (op === 'ping') return this.status
    if (op === 'worker.hello') return this.#welcome(params as { identity: ProcessIdentity; slot: number; isOld: boolean }, peer)
    if (op === 'worker.bye') return this.#crew?.bye(peer, params as WorkerPulse) ?? null
    const primary = this.#primary
    if (primary === null || !this.#isReady || this.#isLeaving) throw new ShiplockError('EDGE_UNAVAILABLE', 'the edge is starting or ending')
    const call = params as { routeId: ServiceEnvironmentId; fence: number; maxMs: number; graceMs?: number; entryPath?: string }
    switch (op) {
      case 'swap':
        return await primary.swap(params as SwapRequest)
      case 'giveBack':
        return await primary.giveBack((params as { readonly routes: readonly SwapRequest[] }).routes)
      case 'drain':
        return await primary.drain(params as DrainRequest)
      case 'hold':
        return await primary.hold(call.routeId, call.maxMs, call.fence)
      case 'release':
        return await primary.release(call.routeId, call.fence)
      case 'remove':
        return await primary.remove(call.routeId, call.fence)
      case 'read':
        return primary.read()
      case 'traffic':
        return await primary.traffic(call.routeId)
      case 'restart':
        await this.restart(peer, call.entryPath ?? this.#entryPath)
        setTimeout(() => process.exit(0), 100)
        return { restarted: true }
      case 'stop':
        await this.stop(call.graceMs ?? LIMITS.cutGraceMs)
        setTimeout(() => process.exit(0), 20)
        return { stopped: true }
      default:
        throw new ShiplockError('INPUT_INVALID', `unknown call ${op}`)
    }
  }

  #welcome(hello: { identity: ProcessIdentity; slot: number; isOld: boolean }, peer: RpcPeer): null {
    this.#joining.add(hello.identity.pid)
    const join = () => this.#join({ identity: hello.identity, peer, slot: hello.slot, isRetiring: hello.isOld }, !hello.isOld)
    void this.#primary?.serial.run(join).catch((error) => {
      this.#logger.warn('a worker could not join', { pid: hello.identity.pid, error })
      return this.#crew?.kill(hello.identity)
    })
    return null
  }

  /** Runs alone among the changes: the worker has the table of this moment before it accepts or is counted. */
  async #join(member: Member, isNew: boolean): Promise<void> {
    const { peer } = member
    await peer.call('load', this.#primary?.snapshot, LIMITS.edgeWorkerAckMs)
    if (!isNew && this.#isReady) await peer.call('retire', {}, LIMITS.edgeWorkerAckMs)
    await this.#writeWorkers()
    if (isNew) await peer.call('listen', {}, LIMITS.edgeWorkerAckMs)
    this.#crew?.join(member)
  }
}

/** Orphans that still listen hang; the others only finish what they have. */
function killHolders(orphans: readonly ProcessIdentity[], port: number): void {
  const holders = portOwners(port)
  for (const orphan of orphans) if (holders.includes(orphan.pid)) signalProcess(orphan, 'SIGKILL')
}
