import { connect } from 'node:net'
import { dirname } from 'node:path'
import { systemClock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { identify } from '../../core/process-identity.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import { createEdgeContext, type EdgeContext } from './edge-context.ts'
import { type EdgeCrashPoint, edgeCrashPoints } from './edge-crash-points.ts'
import { Front } from './front.ts'
import { RpcPeer } from './rpc.ts'
import { Switchboard, type TableSnapshot, type TableStep } from './switchboard.ts'

export interface WorkerConfig {
  readonly controlSocket: string
  readonly listenFd: number
  readonly listenPort: number
  readonly workers: number
  readonly slot: number
  readonly probeToken: string
  readonly responseTimeoutMs: number | null
  readonly trustsForwarded: boolean
  /** Not said by a primary that is older than this program. */
  readonly cookieBase?: string | null
}

const REJOIN_EVERY_MS = 20

/** One process that serves. It belongs to whoever owns the control socket, and outlives its primary until it has finished. */
export class Worker {
  readonly #config: WorkerConfig
  readonly #board: Switchboard
  readonly #context: EdgeContext
  readonly #front: Front
  readonly #crashPoint: (point: EdgeCrashPoint) => void
  #peer: RpcPeer | null = null
  #isHandover = false
  #isListening = false
  #isExiting = false

  constructor(config: WorkerConfig, logger: Logger) {
    this.#config = config
    this.#board = new Switchboard(config.workers)
    this.#context = createEdgeContext(this.#board, config, (message, facts) => logger.warn(message, facts))
    this.#front = new Front(this.#context)
    this.#crashPoint = edgeCrashPoints(dirname(config.controlSocket))
  }

  /** Joins its primary, which then loads the table and, only after that, lets it accept. */
  async run(): Promise<void> {
    await this.#join()
  }

  async #join(): Promise<void> {
    const peer = await connectPeer(this.#config.controlSocket, (op, params) => this.#answer(op, params))
    this.#peer = peer
    peer.onClose(() => void this.#lostPrimary(peer))
    const hello = { identity: identify(process.pid), slot: this.#config.slot, isOld: this.#isListening }
    await peer.call('worker.hello', hello, LIMITS.edgeControlMs)
    this.#isHandover = false
  }

  /** After a crash of the primary the port must become free at once; in a handover the old workers accept until the new ones do. */
  async #lostPrimary(peer: RpcPeer): Promise<void> {
    if (this.#peer !== peer || this.#isExiting) return
    this.#peer = null
    if (!this.#isListening) return this.#exit()
    if (!this.#isHandover) this.#retire()
    const handoverEnds = systemClock.monotonic() + LIMITS.edgeStartMs
    for (let attempt = 0; this.#peer === null && !this.#isExiting; attempt++) {
      await this.#join().catch(() => {})
      if (this.#peer !== null) break
      await systemClock.sleep(attempt < 100 ? REJOIN_EVERY_MS : REJOIN_EVERY_MS * 10)
      if (systemClock.monotonic() > handoverEnds) this.#retire()
    }
  }

  #retire(withinMs: number = LIMITS.edgeRetireMs): void {
    if (!this.#context.isRetiring) {
      this.#front.stopListening()
      this.#watchForEnd()
    }
    setTimeout(() => this.#exit(), withinMs).unref()
  }

  #watchForEnd(): void {
    const timer = setInterval(() => {
      if (this.#front.connections > 0) return
      clearInterval(timer)
      this.#exit()
    }, 50)
  }

  #exit(): void {
    if (this.#isExiting) return
    this.#isExiting = true
    this.#board.cutEverything()
    setTimeout(() => void this.#leave(), this.#front.connections > 0 ? LIMITS.cutGraceMs * 2 : 0)
  }

  /** Its primary hears what is left, so that it counts as lost nothing that has ended in order. */
  async #leave(): Promise<void> {
    await this.#peer?.call('worker.bye', this.#board.pulse(), LIMITS.cutGraceMs).catch(() => {})
    process.exit(0)
  }

  async #answer(op: string, params: unknown): Promise<unknown> {
    switch (op) {
      case 'load':
        return this.#board.load(params as TableSnapshot)
      case 'listen':
        await this.#front.listen(this.#config.listenFd)
        this.#isListening = true
        return null
      case 'prepare':
        this.#board.prepare(params as TableStep)
        return this.#crashPoint('worker.prepared')
      case 'commit':
        this.#board.commit((params as { readonly version: number }).version)
        return this.#crashPoint('worker.committed-not-told')
      case 'drain': {
        const { instances, timeoutMs } = params as { readonly instances: readonly InstanceId[]; readonly timeoutMs: number }
        return await this.#board.drain(instances, timeoutMs)
      }
      case 'traffic':
        return this.#board.traffic((params as { readonly routeId: ServiceEnvironmentId }).routeId)
      case 'pulse':
        return this.#board.pulse()
      case 'handover':
        this.#isHandover = (params as { readonly isOn: boolean }).isOn
        return null
      case 'retire':
        return this.#retire((params as { readonly withinMs?: number }).withinMs)
      default:
        throw new ShiplockError('INPUT_INVALID', `unknown call ${op}`)
    }
  }
}

function connectPeer(path: string, handler: (op: string, params: unknown) => Promise<unknown>): Promise<RpcPeer> {
  return new Promise((resolve, reject) => {
    const socket = connect({ path })
    socket.once('error', reject)
    socket.once('connect', () => {
      socket.off('error', reject)
      resolve(new RpcPeer(socket, handler))
    })
  })
}
