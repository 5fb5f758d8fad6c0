import { type ChildProcess, spawn } from 'node:child_process'
import { systemClock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { identify, isAlive, type ProcessIdentity, signalProcess } from '../../core/process-identity.ts'
import type { RpcPeer } from './rpc.ts'
import type { WorkerConfig } from './worker.ts'

/** A worker that has the table. */
export interface Member {
  readonly identity: ProcessIdentity
  readonly peer: RpcPeer
  readonly slot: number
  /** Serves what it has and takes no new connections; still gets every table. */
  isRetiring: boolean
}

export interface CrewOptions {
  readonly entryPath: string
  readonly workerConfig: Omit<WorkerConfig, 'slot' | 'listenFd'>
  readonly listenFd: number
  readonly logger: Logger
}

/** Variable in which a worker finds its configuration, as JSON. */
export const WORKER_CONFIG = 'SHIPLOCK_EDGE_WORKER'
const LISTEN_FD_IN_WORKER = 3
const RESPAWN_MIN_MS = 20
const RESPAWN_MAX_MS = 2000
const LIVED_LONG_MS = 5000

/** The worker processes of a primary: started, counted, replaced when they die, never waited for when they hang. */
export class Crew {
  readonly #options: CrewOptions
  readonly #members = new Map<number, Member>()
  readonly #children = new Map<number, ChildProcess>()
  #respawnMs = RESPAWN_MIN_MS
  #isStopping = false
  restarts = 0

  constructor(options: CrewOptions) {
    this.#options = options
  }

  get members(): readonly Member[] {
    return [...this.#members.values()]
  }

  get serving(): readonly Member[] {
    return this.members.filter((member) => !member.isRetiring)
  }

  /** Every process that may still serve: joined ones and those on their way. */
  get identities(): readonly ProcessIdentity[] {
    const known = new Map(this.members.map((member) => [member.identity.pid, member.identity]))
    for (const pid of this.#children.keys()) {
      const identity = known.get(pid) ?? identify(pid)
      if (identity !== null) known.set(pid, identity)
    }
    return [...known.values()]
  }

  startAll(): void {
    for (let slot = 0; slot < this.#options.workerConfig.workers; slot++) this.#start(slot)
  }

  join(member: Member): void {
    this.#members.set(member.identity.pid, member)
    member.peer.onClose(() => {
      if (this.#members.get(member.identity.pid) === member) this.#members.delete(member.identity.pid)
    })
  }

  /**
   * Asks every member; the answers of those that gave one. A member that fails or hangs is killed, and this returns only when it is
   * gone: whoever hears the acknowledgement may rely on nobody serving by an older table.
   */
  async askAll<Result>(op: string, params: unknown, timeoutMs: number = LIMITS.edgeWorkerAckMs): Promise<readonly Result[]> {
    const answers = await Promise.all(
      this.members.map(async (member) => {
        try {
          return [await member.peer.call<Result>(op, params, timeoutMs)]
        } catch (error) {
          this.#options.logger.warn('a worker did not acknowledge and is replaced', { op, pid: member.identity.pid, error })
          await this.kill(member.identity)
          return []
        }
      }),
    )
    return answers.flat()
  }

  /** Ends a process for certain. */
  async kill(identity: ProcessIdentity): Promise<void> {
    while (signalProcess(identity, 'SIGKILL')) await systemClock.sleep(2)
    const member = this.#members.get(identity.pid)
    if (member !== undefined && !isAlive(member.identity)) {
      this.#members.delete(identity.pid)
      member.peer.destroy()
    }
  }

  /** Lets members finish what they have and end; does not wait. */
  async retire(members: readonly Member[], withinMs?: number): Promise<void> {
    for (const member of members) member.isRetiring = true
    await Promise.all(
      members.map((member) => member.peer.call('retire', { withinMs }, LIMITS.edgeWorkerAckMs).catch(() => this.kill(member.identity))),
    )
  }

  /** No process is replaced any more. */
  stopReplacing(): void {
    this.#isStopping = true
  }

  resumeReplacing(): void {
    this.#isStopping = false
    for (let slot = 0; slot < this.#options.workerConfig.workers; slot++) {
      if (!this.members.some((member) => member.slot === slot && !member.isRetiring)) this.#start(slot)
    }
  }

  #start(slot: number) {
    const config: WorkerConfig = { ...this.#options.workerConfig, slot, listenFd: LISTEN_FD_IN_WORKER }
    const startedAt = systemClock.monotonic()
    const child = spawn(process.execPath, [this.#options.entryPath, '--worker'], {
      stdio: ['ignore', 'inherit', 'inherit', this.#options.listenFd],
      env: { [WORKER_CONFIG]: JSON.stringify(config) },
    })
    child.once('error', (error) => this.#options.logger.error('a worker could not be started', { slot, error }))
    const { pid } = child
    if (pid === undefined) return this.#again(slot)
    this.#children.set(pid, child)
    child.once('exit', (exitCode, signal) => {
      this.#children.delete(pid)
      const member = this.#members.get(pid)
      this.#members.delete(pid)
      if (this.#isStopping || member?.isRetiring === true) return
      this.#options.logger.warn('a worker ended and is replaced', { pid, slot, exitCode, signal })
      if (systemClock.monotonic() - startedAt > LIVED_LONG_MS) this.#respawnMs = RESPAWN_MIN_MS
      this.#again(slot)
    })
  }

  #again(slot: number): void {
    this.restarts += 1
    const waitMs = this.#respawnMs
    this.#respawnMs = Math.min(RESPAWN_MAX_MS, this.#respawnMs * 2)
    setTimeout(() => {
      if (!this.#isStopping) this.#start(slot)
    }, waitMs)
  }

  /** Resolves once every slot serves. */
  async untilServing(timeoutMs: number): Promise<void> {
    const deadline = systemClock.monotonic() + timeoutMs
    while (this.serving.length < this.#options.workerConfig.workers) {
      if (systemClock.monotonic() > deadline) {
        throw new ShiplockError('EDGE_UNAVAILABLE', 'the workers of the edge did not start in time; its log says why')
      }
      await systemClock.sleep(5)
    }
  }

  async untilGone(timeoutMs: number): Promise<void> {
    const deadline = systemClock.monotonic() + timeoutMs
    while (this.identities.length > 0 && systemClock.monotonic() < deadline) await systemClock.sleep(10)
    for (const identity of this.identities) await this.kill(identity)
  }
}
