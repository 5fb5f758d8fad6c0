import type { Logger } from '../core/log.ts'

/** Where the numbered items of one log come from. Number order must be commit order. */
export interface TopicSource<Item> {
  /** The highest number that is committed. */
  last(): Promise<number>
  after(sequence: number, limit: number): Promise<readonly Item[]>
  /** Asked before a read: true = nothing will be added to what can be read now. */
  isComplete(): Promise<boolean>
  sequenceOf(item: Item): number
  /** What is sent for one item. */
  encode(item: Item): string
}

/** What one reader wants of a topic. `key` names the filter, so that readers with the same one share their catching up. */
export interface TopicFilter<Item> {
  readonly key: string
  readonly includes: (item: Item) => boolean
  readonly after: (sequence: number, limit: number) => Promise<readonly Item[]>
  /** Asked once the reader has everything: true = nothing more will come for this filter. */
  readonly isOver: () => boolean
}

interface Chunk<Item> {
  /** Numbers from `from` (exclusive) to `to` (inclusive). */
  readonly from: number
  readonly to: number
  readonly items: readonly Item[]
  readonly frames: readonly string[]
  /** All frames, encoded once for all readers. */
  readonly bytes: Buffer
}

const PAGE = 500
const RING_BYTES = 2 * 1024 * 1024
const PAGES_KEPT = 16

/**
 * One log, read once and given to any number of readers: each item exactly once to each, in order (I11).
 * Newest items stay in a ring; who is behind it catches up by pages, which readers at the same place share.
 * Readers pull, so a slow one costs no memory.
 */
export class Topic<Item> {
  readonly #source: TopicSource<Item>
  readonly #logger: Logger
  #ring: Chunk<Item>[] = []
  #ringBytes = 0
  /** Everything after this number and up to #head is in the ring. */
  #ringStart = 0
  #head = 0
  #isComplete = false
  #isDirty = false
  #pumping: Promise<void> | null = null
  readonly #waiters = new Set<() => void>()
  readonly #pages = new Map<string, Promise<{ readonly chunk: Chunk<Item>; readonly isFull: boolean }>>()

  constructor(source: TopicSource<Item>, logger: Logger) {
    this.#source = source
    this.#logger = logger
  }

  /** Must be called once before anything else. */
  async open(): Promise<void> {
    this.#head = await this.#source.last()
    this.#ringStart = this.#head
    await this.refresh()
  }

  get isComplete(): boolean {
    return this.#isComplete
  }

  get head(): number {
    return this.#head
  }

  /** Something may have been added. Resolves once it has been read; a failure is left to the next call. */
  refresh(): Promise<void> {
    this.#isDirty = true
    this.#pumping ??= this.#pump()
      .catch((error) => this.#logger.warn('a log could not be read', { error }))
      .finally(() => {
        this.#pumping = null
      })
    return this.#pumping
  }

  /**
   * Everything after `after`, then what comes, until the topic is complete or the signal aborts.
   * A number beyond the end (of another database) means the end.
   */
  async *follow(after: number, filter: TopicFilter<Item> | null, signal: AbortSignal): AsyncGenerator<Buffer | string> {
    await this.refresh()
    let cursor = Math.min(after, this.#head)
    while (!signal.aborted) {
      if (cursor < this.#ringStart) {
        const { chunk } = await this.#page(cursor, filter)
        const frames = select(chunk, cursor, filter, this.#source)
        cursor = chunk.to
        if (frames.length > 0) yield frames
        continue
      }
      const chunk = this.#chunkAfter(cursor)
      if (chunk !== null) {
        const seen = cursor
        cursor = chunk.to
        const frames = select(chunk, seen, filter, this.#source)
        if (frames.length > 0) yield frames
      } else if (this.#isComplete || filter?.isOver() === true) {
        return
      } else {
        await this.#changed(signal)
      }
    }
  }

  async #pump(): Promise<void> {
    while (this.#isDirty) {
      this.#isDirty = false
      const isComplete = await this.#source.isComplete()
      for (let count = PAGE; count === PAGE; ) {
        const items = await this.#source.after(this.#head, PAGE)
        count = items.length
        if (count > 0) this.#append(items)
      }
      this.#isComplete = isComplete
      this.#wake()
    }
  }

  #append(items: readonly Item[]): void {
    const chunk = this.#chunk(this.#head, items, this.#head)
    this.#ring.push(chunk)
    this.#ringBytes += chunk.bytes.length
    this.#head = chunk.to
    while (this.#ringBytes > RING_BYTES && this.#ring.length > 1) {
      const dropped = this.#ring.shift()
      if (dropped === undefined) break
      this.#ringBytes -= dropped.bytes.length
      this.#ringStart = dropped.to
    }
    this.#wake()
  }

  #chunk(from: number, items: readonly Item[], reached: number): Chunk<Item> {
    const frames = items.map((item) => this.#source.encode(item))
    const last = items.at(-1)
    const to = Math.max(reached, last === undefined ? from : this.#source.sequenceOf(last))
    return { from, to, items, frames, bytes: Buffer.from(frames.join('')) }
  }

  #chunkAfter(cursor: number): Chunk<Item> | null {
    if (cursor >= this.#head) return null
    for (let at = this.#ring.length - 1; at >= 0; at--) {
      const chunk = this.#ring[at]
      if (chunk !== undefined && chunk.from <= cursor) return chunk
    }
    return null
  }

  /** Shared by all who ask for the same place; full pages never change, so some are kept. */
  #page(cursor: number, filter: TopicFilter<Item> | null): Promise<{ readonly chunk: Chunk<Item>; readonly isFull: boolean }> {
    const key = `${cursor} ${filter?.key ?? ''}`
    const known = this.#pages.get(key)
    if (known !== undefined) return known
    const reading = this.#readPage(cursor, filter)
    this.#pages.set(key, reading)
    reading.then(
      ({ isFull }) => {
        if (!isFull) this.#pages.delete(key)
        for (const oldest of this.#pages.keys()) {
          if (this.#pages.size <= PAGES_KEPT) break
          this.#pages.delete(oldest)
        }
      },
      () => this.#pages.delete(key),
    )
    return reading
  }

  async #readPage(cursor: number, filter: TopicFilter<Item> | null) {
    // What was committed when the question was asked is in the answer: with a page that is not full, the reader has seen all up to here.
    const head = this.#head
    const items = await (filter === null ? this.#source.after(cursor, PAGE) : filter.after(cursor, PAGE))
    const isFull = items.length === PAGE
    return { chunk: this.#chunk(cursor, items, isFull ? cursor : Math.max(head, cursor)), isFull }
  }

  #wake(): void {
    const waiters = [...this.#waiters]
    this.#waiters.clear()
    for (const wake of waiters) wake()
  }

  #changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        signal.removeEventListener('abort', wake)
        this.#waiters.delete(wake)
        resolve()
      }
      this.#waiters.add(wake)
      signal.addEventListener('abort', wake, { once: true })
    })
  }
}

function select<Item>(chunk: Chunk<Item>, seen: number, filter: TopicFilter<Item> | null, source: TopicSource<Item>): Buffer | string {
  if (filter === null && seen === chunk.from) return chunk.bytes
  return chunk.frames
    .filter((_, at) => {
      const item = chunk.items[at]
      return item !== undefined && source.sequenceOf(item) > seen && (filter === null || filter.includes(item))
    })
    .join('')
}
