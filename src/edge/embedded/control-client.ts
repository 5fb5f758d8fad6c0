import { connect } from 'node:net'
import { systemClock } from '../../core/clock.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { RpcPeer } from './rpc.ts'

const RECONNECT_EVERY_MS = 20

/**
 * Talks to the primary and finds it again after a restart. A call whose answer was lost is repeated on the next connection: every call
 * of the edge may be made twice.
 */
export class ControlClient {
  readonly #path: string
  #peer: RpcPeer | null = null
  #connecting: Promise<RpcPeer> | null = null

  constructor(path: string) {
    this.#path = path
  }

  /** `params`, or what makes them anew for each attempt. */
  async call<Result>(op: string, params: object, timeoutMs: number = LIMITS.edgeControlMs, signal?: AbortSignal): Promise<Result> {
    const deadline = systemClock.monotonic() + timeoutMs
    for (;;) {
      signal?.throwIfAborted()
      try {
        const peer = await this.#connected()
        return await peer.call<Result>(
          op,
          typeof params === 'function' ? params() : params,
          Math.max(1, deadline - systemClock.monotonic()),
        )
      } catch (error) {
        const isLater = systemClock.monotonic() + RECONNECT_EVERY_MS >= deadline
        if (isLater || !isShiplockError(error, 'EDGE_UNAVAILABLE')) throw error
        await systemClock.sleep(RECONNECT_EVERY_MS, signal)
      }
    }
  }

  /** One attempt on whatever connection there is or can be made. */
  async once<Result>(op: string, params: unknown, timeoutMs: number): Promise<Result> {
    return await (await this.#connected()).call<Result>(op, params, timeoutMs)
  }

  /** Resolves when the present connection ends; at once when there is none. */
  async untilLost(): Promise<void> {
    const peer = this.#peer
    if (peer !== null) await new Promise<void>((resolve) => peer.onClose(resolve))
  }

  close(): void {
    this.#peer?.destroy()
    this.#peer = null
  }

  async #connected(): Promise<RpcPeer> {
    if (this.#peer !== null && !this.#peer.isClosed) return this.#peer
    this.#connecting ??= this.#connect().finally(() => {
      this.#connecting = null
    })
    return await this.#connecting
  }

  #connect(): Promise<RpcPeer> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path: this.#path })
      socket.once('error', (error: NodeJS.ErrnoException) =>
        reject(new ShiplockError('EDGE_UNAVAILABLE', `the edge does not run (${error.code ?? error.message})`, { cause: error })),
      )
      socket.once('connect', () => {
        this.#peer = new RpcPeer(socket)
        // An idle control connection is no reason for the server process to stay.
        this.#peer.unref()
        resolve(this.#peer)
      })
    })
  }
}
