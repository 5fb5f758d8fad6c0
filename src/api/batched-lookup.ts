import { LIMITS } from '../core/limits.ts'

/**
 * Looks up what strangers name (tokens, webhooks) with few statements: `LIMITS.lookupsAtOnce` are under way at most, and what comes
 * meanwhile waits for the next one together. So a flood of guesses costs the database a handful of statements, nobody is refused for it,
 * and a good one among them waits as long as one statement takes. An answer is never older than its question.
 */
export class BatchedLookup<Value> {
  readonly #find: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>
  readonly #waiting = new Map<string, Asked<Value>>()
  #underWay = 0

  constructor(find: (keys: readonly string[]) => Promise<ReadonlyMap<string, Value>>) {
    this.#find = find
  }

  /** Rejects as the statement does. */
  get(key: string): Promise<Value | null> {
    const asked = this.#waiting.get(key) ?? ask<Value>()
    this.#waiting.set(key, asked)
    this.#next()
    return asked.promise
  }

  #next(): void {
    if (this.#underWay >= LIMITS.lookupsAtOnce || this.#waiting.size === 0) return
    const batch = [...this.#waiting].slice(0, LIMITS.lookupKeys)
    for (const [key] of batch) this.#waiting.delete(key)
    this.#underWay += 1
    void this.#look(batch).finally(() => {
      this.#underWay -= 1
      this.#next()
    })
  }

  async #look(batch: readonly [string, Asked<Value>][]): Promise<void> {
    try {
      const found = await this.#find(batch.map(([key]) => key))
      for (const [key, asked] of batch) asked.resolve(found.get(key) ?? null)
    } catch (error) {
      for (const [, asked] of batch) asked.reject(error)
    }
  }
}

interface Asked<Value> {
  readonly promise: Promise<Value | null>
  readonly resolve: (value: Value | null) => void
  readonly reject: (error: unknown) => void
}

function ask<Value>(): Asked<Value> {
  let settle: Omit<Asked<Value>, 'promise'> | undefined
  const promise = new Promise<Value | null>((resolve, reject) => {
    settle = { resolve, reject }
  })
  return { promise, ...(settle as Omit<Asked<Value>, 'promise'>) }
}
