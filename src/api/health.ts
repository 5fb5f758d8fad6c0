import type { Clock } from '../core/clock.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Database } from '../store/database.ts'

/**
 * Whether the database answers. Anybody may ask, as often as he likes: one look serves all who ask within `LIMITS.healthKeptMs`, and while
 * one is not answered there is no other.
 */
export class Health {
  readonly #database: Pick<Database, 'query'>
  readonly #clock: Pick<Clock, 'monotonic'>
  #look: { readonly beganAt: number; isOver: boolean; readonly answer: Promise<void> } | null = null

  constructor(database: Pick<Database, 'query'>, clock: Pick<Clock, 'monotonic'>) {
    this.#database = database
    this.#clock = clock
  }

  /** Rejects with DATABASE_UNAVAILABLE, within `LIMITS.healthMs` also when the database says nothing at all. */
  async assertWell(): Promise<void> {
    const now = this.#clock.monotonic()
    if (this.#look === null || (this.#look.isOver && now - this.#look.beganAt > LIMITS.healthKeptMs)) this.#look = this.#begin(now)
    const { answer, beganAt } = this.#look
    let timer: NodeJS.Timeout | undefined
    const silence = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(silent()), Math.max(0, beganAt + LIMITS.healthMs - now))
    })
    await Promise.race([answer, silence]).finally(() => clearTimeout(timer))
  }

  #begin(beganAt: number) {
    const look = {
      beganAt,
      isOver: false,
      answer: this.#database
        .query('select 1')
        .then(() => {})
        .finally(() => {
          look.isOver = true
        }),
    }
    // Whoever asks is told; a look that nobody waits for any more is no unhandled rejection.
    look.answer.catch(() => {})
    return look
  }
}

const silent = () => new ShiplockError('DATABASE_UNAVAILABLE', `the database did not answer within ${LIMITS.healthMs} ms`)
