import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Turns } from './turns.ts'

const LIMITS = { total: 4, each: 3, waitingEach: 5 }
const never = new AbortController().signal

test('I13: one holder takes no more than its share, and others come through at once', async () => {
  const turns = new Turns(LIMITS)
  const ends = await Promise.all([1, 2, 3].map(() => turns.take('a', never)))
  let isFourth = false
  const fourth = turns.take('a', never).then((end) => {
    isFourth = true
    return end
  })
  const other = await turns.take('b', never)
  expect(isFourth).toBe(false)
  ends[0]?.()
  ends[0]?.()
  ;(await fourth)()
  other()
  for (const end of ends) end()
  expect(turns.inUse).toBe(0)
})

test('I13: holders come in turn, however many of one wait', async () => {
  const turns = new Turns({ total: 1, each: 1, waitingEach: 100 })
  const order: string[] = []
  const first = await turns.take('a', never)
  const work = async (name: string) => {
    const end = await turns.take(name, never)
    order.push(name)
    await Promise.resolve()
    end()
  }
  const all = [...Array.from({ length: 5 }, () => work('a')), work('b'), work('c')]
  first()
  await Promise.all(all)
  expect(order.slice(0, 3).sort()).toEqual(['a', 'b', 'c'])
})

test('too many that wait are told so; one whose client has gone gives up its place', async () => {
  const turns = new Turns({ total: 1, each: 1, waitingEach: 1 })
  const end = await turns.take('a', never)
  const gone = new AbortController()
  const waiting = turns.take('a', gone.signal)
  await expect(turns.take('a', never)).rejects.toMatchObject({ code: 'RATE_LIMITED' })
  gone.abort(new Error('gone'))
  await expect(waiting).rejects.toThrow('gone')
  const next = turns.take('a', never)
  end()
  ;(await next)()
  expect(turns.inUse).toBe(0)
})

test('I12: in any order, no bound is passed and everybody comes to his turn', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.integer({ min: 0, max: 3 })), { maxLength: 30 }),
      async (jobs) => {
        const turns = new Turns({ total: 4, each: 2, waitingEach: 100 })
        const inUse = new Map<string, number>()
        const run = async (name: string, ticks: number) => {
          const end = await turns.take(name, never)
          inUse.set(name, (inUse.get(name) ?? 0) + 1)
          expect(inUse.get(name)).toBeLessThanOrEqual(2)
          expect(turns.inUse).toBeLessThanOrEqual(4)
          for (let tick = 0; tick < ticks; tick++) await Promise.resolve()
          inUse.set(name, (inUse.get(name) ?? 0) - 1)
          end()
        }
        await Promise.all(jobs.map(([name, ticks]) => run(name, ticks)))
        expect(turns.inUse).toBe(0)
      },
    ),
  )
})
