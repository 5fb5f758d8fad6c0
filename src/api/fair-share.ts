export interface FairShareLimits {
  readonly total: number
  /** Of one holder of each kind, e.g. `{ address: 32, hook: 32 }`. */
  readonly each: Readonly<Record<string, number>>
}

/** What one use of the shared thing holds. */
export interface Share {
  /** More of it is in use. May cut others, or this one. */
  add(amount: number): void
  /** It is in use no longer. Twice is once. */
  close(): void
}

interface Use {
  readonly scopes: readonly string[]
  /** Whose it is: all its scopes together. */
  readonly holder: string
  readonly cut: () => void
  amount: number
}

const ALL = 'all'

/**
 * Something of which there is only so much, used by people who have shown nothing yet. Nobody is refused for what others use: when there is
 * too much of it in use, the holder with the most is cut, oldest use first. A newcomer that takes little therefore always gets through.
 */
export class FairShare {
  readonly #limits: FairShareLimits
  /** Oldest first. */
  readonly #uses = new Set<Use>()
  readonly #amounts = new Map<string, number>()

  constructor(limits: FairShareLimits) {
    this.#limits = limits
  }

  /** `cut` is called at most once, and not after `close`. */
  open(holders: Readonly<Record<string, string>>, amount: number, cut: () => void): Share {
    const scopes = Object.entries(holders).map(([kind, name]) => `${kind} ${name}`)
    const use: Use = { scopes: [ALL, ...scopes], holder: scopes.join('\n'), cut, amount: 0 }
    this.#uses.add(use)
    this.#add(use, amount)
    return { add: (more) => this.#add(use, more), close: () => this.#remove(use) }
  }

  /** In use altogether. */
  get amount(): number {
    return this.#amounts.get(ALL) ?? 0
  }

  #add(use: Use, more: number): void {
    if (!this.#uses.has(use)) return
    use.amount += more
    for (const scope of use.scopes) this.#amounts.set(scope, (this.#amounts.get(scope) ?? 0) + more)
    for (const scope of use.scopes) this.#makeRoom(scope)
  }

  #makeRoom(scope: string): void {
    const kind = scope.slice(0, scope.indexOf(' ') === -1 ? scope.length : scope.indexOf(' '))
    const most = scope === ALL ? this.#limits.total : (this.#limits.each[kind] ?? Number.POSITIVE_INFINITY)
    while ((this.#amounts.get(scope) ?? 0) > most) {
      const use = this.#oldestOfLargest(scope)
      if (use === null) return
      this.#remove(use)
      use.cut()
    }
  }

  #oldestOfLargest(scope: string): Use | null {
    const amounts = new Map<string, { amount: number; oldest: Use }>()
    let largest: { amount: number; oldest: Use } | null = null
    for (const use of this.#uses) {
      if (!use.scopes.includes(scope)) continue
      const holder = amounts.get(use.holder) ?? { amount: 0, oldest: use }
      holder.amount += use.amount
      amounts.set(use.holder, holder)
      if (largest === null || holder.amount > largest.amount) largest = holder
    }
    return largest?.oldest ?? null
  }

  #remove(use: Use): void {
    if (!this.#uses.delete(use)) return
    for (const scope of use.scopes) {
      const left = (this.#amounts.get(scope) ?? 0) - use.amount
      if (left > 0) this.#amounts.set(scope, left)
      else this.#amounts.delete(scope)
    }
  }
}
