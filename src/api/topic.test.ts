import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { silentLogger } from '../core/log.ts'
import { Topic, type TopicFilter } from './topic.ts'

interface Item {
  readonly sequence: number
  readonly text: string
}

/** A log in memory that counts how often it is read. */
function fakeLog(initial: number, pad = '') {
  const items: Item[] = []
  const state = { reads: 0, isComplete: false, failNext: false }
  const add = (count = 1) => {
    for (let n = 0; n < count; n++) items.push({ sequence: items.length + 1, text: `${items.length + 1}${pad}` })
  }
  add(initial)
  const topic = new Topic<Item>(
    {
      last: async () => items.length,
      after: async (sequence, limit) => {
        state.reads += 1
        if (state.failNext) {
          state.failNext = false
          throw new Error('the database is away')
        }
        return items.slice(sequence, sequence + limit)
      },
      isComplete: async () => state.isComplete,
      sequenceOf: (item) => item.sequence,
      encode: (item) => `${item.sequence} `,
    },
    silentLogger,
  )
  return { topic, add, items, state }
}

async function collect(topic: Topic<Item>, after: number, signal: AbortSignal, filter: TopicFilter<Item> | null = null): Promise<number[]> {
  const seen: number[] = []
  for await (const frames of topic.follow(after, filter, signal)) {
    seen.push(...String(frames).trim().split(' ').map(Number))
  }
  return seen
}

const range = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, n) => from + n)
const forever = () => new AbortController()

describe('Topic', () => {
  test('I11: wherever readers begin and however the log grows, each sees every later item exactly once and in order', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 1200 }),
        fc.array(fc.integer({ min: 1, max: 700 }), { maxLength: 6 }),
        fc.array(fc.integer({ min: 0, max: 1200 }), { minLength: 1, maxLength: 5 }),
        async (initial, growth, starts) => {
          const { topic, add, items, state } = fakeLog(initial)
          await topic.open()
          const readers = starts.map((start) => collect(topic, Math.min(start, initial), forever().signal))
          for (const count of growth) {
            add(count)
            await topic.refresh()
          }
          state.isComplete = true
          await topic.refresh()
          const seen = await Promise.all(readers)
          for (const [n, start] of starts.entries()) expect(seen[n]).toEqual(range(Math.min(start, initial) + 1, items.length))
        },
      ),
      { numRuns: 40 },
    )
  })

  test('readers that begin at the same place share their reads of the past', async () => {
    const { topic, state } = fakeLog(2000)
    state.isComplete = true
    await topic.open()
    const before = state.reads
    const seen = await Promise.all(Array.from({ length: 100 }, () => collect(topic, 0, forever().signal)))
    expect(new Set(seen.map((numbers) => numbers.join())).size).toBe(1)
    expect(seen[0]).toEqual(range(1, 2000))
    // Four full pages, a last one, and one look per reader's own refresh, coalesced.
    expect(state.reads - before).toBeLessThan(20)
  })

  test('what fell out of the ring is read again by who is behind, and memory stays bounded', async () => {
    const { topic, add, state } = fakeLog(0)
    await topic.open()
    const stopped = forever()
    const slow = topic.follow(0, null, stopped.signal)
    add(5)
    await topic.refresh()
    const first = await slow.next()
    expect(String(first.value).trim().split(' ')).toHaveLength(5)
    for (let batch = 0; batch < 20; batch++) {
      add(500)
      await topic.refresh()
    }
    state.isComplete = true
    await topic.refresh()
    const rest: number[] = []
    for await (const frames of slow) rest.push(...String(frames).trim().split(' ').map(Number))
    expect(rest).toEqual(range(6, 10_005))
  })

  test('a failed read loses nothing: the next look brings it', async () => {
    const { topic, add, state } = fakeLog(3)
    await topic.open()
    const reading = collect(topic, 3, forever().signal)
    add(2)
    state.failNext = true
    await topic.refresh()
    state.isComplete = true
    await topic.refresh()
    expect(await reading).toEqual([4, 5])
  })

  test('a filter sees everything and passes on what it wants; it may end the stream', async () => {
    const { topic, add, items } = fakeLog(4)
    await topic.open()
    let isOver = false
    const filter: TopicFilter<Item> = {
      key: 'even',
      includes: (item) => {
        if (item.sequence === 8) isOver = true
        return item.sequence % 2 === 0
      },
      after: async (sequence, limit) => items.slice(sequence, sequence + limit),
      isOver: () => isOver,
    }
    const reading = collect(topic, 0, forever().signal, filter)
    add(4)
    await topic.refresh()
    expect(await reading).toEqual([2, 4, 6, 8])
  })

  test('a reader that leaves ends at once', async () => {
    const { topic } = fakeLog(1)
    await topic.open()
    const gone = forever()
    const reading = collect(topic, 0, gone.signal)
    gone.abort()
    expect((await reading).length).toBeLessThanOrEqual(1)
  })
})
