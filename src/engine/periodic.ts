import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { Service } from '../core/service.ts'
import { isTransient } from '../store/database.ts'

/** A background part that does the same thing again and again; a failed round is logged and the next one tries anew. */
export class Periodic implements Service {
  readonly #name: string
  readonly #periodMs: number
  readonly #round: (signal: AbortSignal) => Promise<void>
  readonly #clock: Clock
  readonly #logger: Logger
  #stopping: AbortController | null = null
  #loop: Promise<void> = Promise.resolve()
  #pause: AbortController | null = null
  #isWoken = false

  constructor(name: string, periodMs: number, outside: { clock: Clock; logger: Logger }, round: (signal: AbortSignal) => Promise<void>) {
    this.#name = name
    this.#periodMs = periodMs
    this.#clock = outside.clock
    this.#logger = outside.logger
    this.#round = round
  }

  async start(): Promise<void> {
    if (this.#stopping !== null) return
    this.#stopping = new AbortController()
    this.#loop = this.#run(this.#stopping.signal)
  }

  async stop(): Promise<void> {
    this.#stopping?.abort()
    this.#stopping = null
    await this.#loop
  }

  /** Begins the next round now, or as soon as the present one is over. */
  wake(): void {
    this.#isWoken = true
    this.#pause?.abort()
  }

  async #run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isWoken = false
      try {
        await this.#round(signal)
      } catch (error) {
        if (!signal.aborted && !isTransient(error))
          this.#logger.warn(`a round of the ${this.#name} failed`, { error, stack: (error as Error).stack })
      }
      if (this.#isWoken) continue
      this.#pause = new AbortController()
      await this.#clock.sleep(this.#periodMs, AbortSignal.any([signal, this.#pause.signal])).catch(() => {})
    }
  }
}
