import { ShiplockError } from '../core/errors.ts'

export interface TurnLimits {
  /** At the same time. */
  readonly total: number
  /** Of one holder at the same time, and how many more of his may wait. */
  readonly each: number
  readonly waitingEach: number
}

interface Holder {
  inUse: number
  readonly waiting: Set<() => void>
}

/**
 * Whose request is worked on now. Each takes a connection of the database for a while, and waits for locks with it: without turns the requests
 * of one project would take them all, from other projects, from the health check and from the engine. Holders come in turn.
 */
export class Turns {
  readonly #limits: TurnLimits
  /** Whoever was served longest ago comes first. */
  readonly #holders = new Map<string, Holder>()
  #inUse = 0

  constructor(limits: TurnLimits) {
    this.#limits = limits
  }

  get inUse(): number {
    return this.#inUse
  }

  /** Resolves with what ends the turn, which may be called twice. Throws RATE_LIMITED when too many wait already; rejects when the signal aborts. */
  async take(name: string, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    const holder = this.#holders.get(name) ?? { inUse: 0, waiting: new Set() }
    this.#holders.set(name, holder)
    if (this.#inUse >= this.#limits.total || holder.inUse >= this.#limits.each) await this.#wait(holder, signal)
    else this.#begin(name, holder)
    let isOver = false
    return () => {
      if (isOver) return
      isOver = true
      this.#inUse -= 1
      holder.inUse -= 1
      this.#next()
      this.#forget(name, holder)
    }
  }

  #wait(holder: Holder, signal: AbortSignal): Promise<void> {
    if (holder.waiting.size >= this.#limits.waitingEach) {
      throw new ShiplockError('RATE_LIMITED', `${holder.waiting.size} requests of this project wait already`)
    }
    return new Promise((resolve, reject) => {
      const gone = () => {
        holder.waiting.delete(begin)
        reject(signal.reason)
      }
      const begin = () => {
        signal.removeEventListener('abort', gone)
        resolve()
      }
      signal.addEventListener('abort', gone, { once: true })
      holder.waiting.add(begin)
    })
  }

  #next(): void {
    while (this.#inUse < this.#limits.total) {
      const next = [...this.#holders].find(([, holder]) => holder.waiting.size > 0 && holder.inUse < this.#limits.each)
      if (next === undefined) return
      const [name, holder] = next
      const [begin] = holder.waiting
      if (begin === undefined) return
      holder.waiting.delete(begin)
      this.#begin(name, holder)
      begin()
    }
  }

  #begin(name: string, holder: Holder): void {
    this.#inUse += 1
    holder.inUse += 1
    this.#holders.delete(name)
    this.#holders.set(name, holder)
  }

  #forget(name: string, holder: Holder): void {
    if (holder.inUse === 0 && holder.waiting.size === 0 && this.#holders.get(name) === holder) this.#holders.delete(name)
  }
}
