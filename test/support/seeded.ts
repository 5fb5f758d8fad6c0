/** Random numbers that can be had again: mulberry32. */
export class Seeded {
  readonly seed: number
  #state: number

  /** Default seed: SHIPLOCK_TEST_SEED, else a new one; print it, so that a failure can be repeated. */
  constructor(seed: number = Number(process.env.SHIPLOCK_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31))) {
    this.seed = seed
    this.#state = seed
  }

  /** From 0 to below 1. */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) | 0
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), 1 | this.#state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  pick<Item>(items: readonly [Item, ...Item[]]): Item {
    return items[this.below(items.length)] ?? items[0]
  }
}
