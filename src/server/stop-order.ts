import type { Logger } from '../core/log.ts'

/**
 * What a running server holds, from the ground up: it stops from the last to the first. The database goes late, so that every part can
 * still write down what it did; the lock goes last, so that nobody starts before all has ended.
 */
export const STOP_ORDER = [
  'directory lock',
  'embedded database',
  'database connections',
  'container engine',
  'notices',
  'api',
  'hooks listener',
  'edge connection',
  'key rotation',
  'duty',
  'database keeper',
] as const

export type StopName = (typeof STOP_ORDER)[number]

/** Without these nothing is written down and nobody else may start: that one of them failed to stop is a failure of the stop. */
const FOUNDATION: readonly StopName[] = ['directory lock', 'embedded database', 'database connections']

/** How each part stops that was started so far. */
export class Stops {
  readonly #logger: Logger
  readonly #stops = new Map<StopName, () => Promise<unknown>>()

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** Says how `name` stops; a second call takes the place of the first. */
  set(name: StopName, stop: () => Promise<unknown>): void {
    this.#stops.set(name, stop)
  }

  /** Stops all that was started, each once, whatever fails on the way. @throws the first failure of what the others stand on */
  async run(): Promise<void> {
    let failure: unknown = null
    for (const name of [...STOP_ORDER].reverse()) {
      const stop = this.#stops.get(name)
      this.#stops.delete(name)
      try {
        await stop?.()
      } catch (error) {
        if (FOUNDATION.includes(name)) failure ??= error
        this.#logger.warn('a part did not stop cleanly', { part: name, error: error as Error })
      }
    }
    if (failure !== null) throw failure
  }
}
