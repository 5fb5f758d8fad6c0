import fc from 'fast-check'
import { expect, test } from 'vitest'
import { FairShare } from './fair-share.ts'

const LIMITS = { total: 100, each: { address: 40, hook: 40 } }

test('I13: whoever holds the most is cut, oldest first; a newcomer gets through', () => {
  const share = new FairShare(LIMITS)
  const cut: string[] = []
  for (const name of ['a1', 'a2', 'a3']) share.open({ address: 'a', hook: 'x' }, 10, () => cut.push(name))
  for (const name of ['b', 'c', 'd']) share.open({ address: name, hook: name }, 20, () => cut.push(name))
  expect(cut).toEqual([])
  share.open({ address: 'new', hook: 'new' }, 11, () => cut.push('new'))
  expect(cut).toEqual(['a1'])
})

test('one address, and one hook by whatever addresses, has its own bound', () => {
  const share = new FairShare(LIMITS)
  const cut: string[] = []
  share.open({ address: 'a', hook: 'x' }, 25, () => cut.push('big'))
  share.open({ address: 'a', hook: 'y' }, 10, () => cut.push('small'))
  share.open({ address: 'a', hook: 'z' }, 10, () => cut.push('new'))
  expect(cut).toEqual(['big'])
  for (const address of ['p', 'q', 'r', 's', 't']) share.open({ address, hook: 'w' }, 10, () => cut.push(address))
  expect(cut).toEqual(['big', 'p'])
})

test('one that outgrows what there is is cut itself', () => {
  const share = new FairShare({ total: 10, each: {} })
  let isCut = 0
  const use = share.open({}, 1, () => (isCut += 1))
  use.add(10)
  use.add(10)
  use.close()
  expect({ isCut, amount: share.amount }).toEqual({ isCut: 1, amount: 0 })
})

test('I12: whatever comes, no bound is passed, and what was given back is there again', () => {
  const step = fc.record({
    address: fc.constantFrom('a', 'b', 'c', 'd'),
    hook: fc.constantFrom('x', 'y'),
    amount: fc.integer({ min: 1, max: 60 }),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const share = new FairShare(LIMITS)
      const open = new Map<number, { address: string; amount: number; close: () => void }>()
      for (const [index, { address, hook, amount }] of steps.entries()) {
        open.set(index, { address, amount, close: () => {} })
        const use = share.open({ address, hook }, amount, () => open.delete(index))
        const held = open.get(index)
        if (held !== undefined) held.close = use.close
        const sum = (of: string | null) =>
          [...open.values()].filter((use) => of === null || use.address === of).reduce((all, use) => all + use.amount, 0)
        expect(sum(null)).toBeLessThanOrEqual(LIMITS.total)
        expect(sum(null)).toBe(share.amount)
        expect(sum(address)).toBeLessThanOrEqual(LIMITS.each.address)
      }
      for (const { close } of open.values()) close()
      expect(share.amount).toBe(0)
    }),
  )
})
