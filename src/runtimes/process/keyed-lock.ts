/** Runs calls with the same key one after another, others side by side. */
export class KeyedLock {
  readonly #tails = new Map<string, Promise<unknown>>()

  run<Result>(key: string, action: () => Promise<Result>): Promise<Result> {
    const before = this.#tails.get(key) ?? Promise.resolve()
    const turn = before.then(action, action)
    const tail = turn.catch(() => {})
    this.#tails.set(key, tail)
    void tail.then(() => {
      if (this.#tails.get(key) === tail) this.#tails.delete(key)
    })
    return turn
  }
}
