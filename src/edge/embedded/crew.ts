import { type ChildProcess, spawn } from 'node:child_process'
import { systemClock } from '../../core/clock.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { identify, isAlive, type ProcessIdentity, signalProcess } from '../../core/process-identity.ts'
import type { WorkerPulse } from './losses.ts'
import type { RpcPeer } from './rpc.ts'
import type { WorkerConfig } from './worker.ts'

/** A worker that has the table. */
export interface Member {
  readonly identity: ProcessIdentity
  readonly peer: RpcPeer
  readonly slot: number
  /** Serves what it has and takes no new connections; still gets every table. */
  isRetiring: boolean
  /** What it said last of itself. */
  pulse?: WorkerPulse
  /** Looks since then that it has left unanswered. */
  missed?: number
}

export interface CrewOptions {
  readonly entryPath: string
  readonly workerConfig: Omit<WorkerConfig, 'slot' | 'listenFd'>
  readonly listenFd: number
  readonly logger: Logger
  /** A worker has ended without having been let go; this is what it had said last. */
  readonly onLoss: (pulse: WorkerPulse) => void
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
  #isHandedOver = false
  #pulse: NodeJS.Timeout | null = null
  #lookedAt = 0
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
      if (this.#members.get(member.identity.pid) !== member) return
      this.#members.delete(member.identity.pid)
      this.#noteEnd(member)
    })
  }

  /** What was still in flight when it ended, nobody answered. One that has finished had nothing left. */
  #noteEnd({ pulse }: Member): void {
    if (pulse !== undefined && !this.#isHandedOver && !this.#isStopping) this.#options.onLoss(pulse)
  }

  /** It ends in order, with no more than this left. */
  bye(peer: RpcPeer, pulse: WorkerPulse): void {
    const member = this.members.find((each) => each.peer === peer)
    if (member !== undefined) member.pulse = pulse
  }

  /** Looks after the workers: one that hangs serves nobody what it has accepted, and is replaced. */
  startPulse(): void {
    this.#lookedAt = systemClock.monotonic()
    this.#pulse = setInterval(() => this.#lookAfter(), LIMITS.edgePulseMs)
    this.#pulse.unref()
  }

  #lookAfter(): void {
    const now = systemClock.monotonic()
    // After a pause of this process, or of the whole machine, nobody has had the time to answer.
    const wasLate = now - this.#lookedAt > LIMITS.edgePulseMs * 2
    this.#lookedAt = now
    if (this.#isHandedOver) return
    for (const member of this.members) {
      const missed = wasLate ? 0 : (member.missed ?? 0)
      member.missed = missed + 1
      if (missed < LIMITS.edgePulsesMissed) void this.#look(member, missed)
      else if (missed === LIMITS.edgePulsesMissed) void this.#replaceHanging(member)
    }
  }

  async #look(member: Member, missed: number): Promise<void> {
    // One question at a time is under way: a worker that hangs is not left a heap of them.
    if (missed > 0) return
    const answered = await member.peer.call<WorkerPulse>('pulse', {}, LIMITS.edgePulseMs * (LIMITS.edgePulsesMissed + 1)).then(
      (pulse) => {
        member.pulse = pulse
        return true
      },
      // One that is older than this question answers that it does not know it.
      (error) => !isShiplockError(error, 'EDGE_UNAVAILABLE'),
    )
    if (answered) member.missed = 0
  }

  async #replaceHanging(member: Member): Promise<void> {
    const forMs = LIMITS.edgePulseMs * LIMITS.edgePulsesMissed
    this.#options.logger.warn('a worker hangs and is replaced', { pid: member.identity.pid, forMs })
    await this.kill(member.identity)
  }

  /** While the next primary takes over, connections to the workers end without any of them having ended. */
  handOver(isOn: boolean): void {
    this.#isHandedOver = isOn
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
          if (this.#isHandedOver)
            throw new ShiplockError('EDGE_UNAVAILABLE', `the edge's processes are being replaced; ${op} has to be asked again`)
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
      this.#noteEnd(member)
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
    clearInterval(this.#pulse ?? undefined)
  }

  resumeReplacing(): void {
    this.#isStopping = false
    this.startPulse()
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
      if (member !== undefined) this.#noteEnd(member)
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
