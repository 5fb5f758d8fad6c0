import { LIMITS } from '../core/limits.ts'

/**
 * How far a reader has come in the log of each instance of a service; as text it is the id of a stream's frames. Bounded by what still
 * exists, and by number: the instances that wrote last are remembered, so that a reader that comes back is told nothing twice.
 */
export class LogPositions {
  readonly #offsets = new Map<string, number>()

  /** `ins_a=120;ins_b=7`. What is not of that form is ignored: the reader then begins anew in that log. */
  static parse(id: string | null): LogPositions {
    const positions = new LogPositions()
    for (const part of (id ?? '').split(';', PARTS_MAX)) {
      const [, instance, offset] = /^([A-Za-z0-9_-]{1,64})=(\d{1,15})$/.exec(part) ?? []
      if (instance !== undefined && offset !== undefined) positions.set(instance, Number(offset))
    }
    return positions
  }

  get isEmpty(): boolean {
    return this.#offsets.size === 0
  }

  /** Offset of the last line that was sent; null = none of that log. */
  of(instance: string): number | null {
    return this.#offsets.get(instance) ?? null
  }

  set(instance: string, offset: number): void {
    this.#offsets.delete(instance)
    this.#offsets.set(instance, offset)
    const oldest = this.#offsets.keys().next().value
    if (this.#offsets.size > LIMITS.logPositions && oldest !== undefined) this.#offsets.delete(oldest)
  }

  /** Forgets instances that are gone for good: their ids never come again. */
  keepOnly(existing: ReadonlySet<string>): void {
    for (const instance of this.#offsets.keys()) if (!existing.has(instance)) this.#offsets.delete(instance)
  }

  toString(): string {
    return [...this.#offsets].map(([instance, offset]) => `${instance}=${offset}`).join(';')
  }
}
/** A header of 16 KiB, the most that is taken, holds fewer. */
const PARTS_MAX = 4096
