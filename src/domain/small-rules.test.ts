import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { DeploymentId, InstanceId, ReleaseId } from './ids.ts'
import { instanceIdFor, makerOf, releaseIdFor } from './ids.ts'
import type { Release } from './release.ts'
import { restartPauseMs } from './restart-backoff.ts'
import { releasesToDelete } from './retention.ts'

const release = (number: number) => ({ id: `rel_${number}` as ReleaseId, number }) as Release
const newestFirst = (count: number) => Array.from({ length: count }, (_, place) => release(count - place))

describe('retention', () => {
  test('keeps the newest, and what is protected does not count among them', () => {
    const kept = newestFirst(6)
    const live = new Set(['rel_6' as ReleaseId])
    expect(releasesToDelete(kept, live, 3).map((gone) => gone.number)).toEqual([2, 1])
    expect(releasesToDelete(kept, new Set(['rel_1' as ReleaseId]), 3).map((gone) => gone.number)).toEqual([3, 2])
    expect(releasesToDelete(kept, live, 10)).toEqual([])
    expect(releasesToDelete(kept, live, 0)).toHaveLength(5)
  })

  test('never deletes what is protected, never keeps more than it may, and never a newer one before an older one', () => {
    fc.assert(
      fc.property(fc.nat(30), fc.array(fc.nat(30)), fc.nat(12), (count, protectedNumbers, retention) => {
        const releases = newestFirst(count)
        const isProtected = new Set(protectedNumbers.map((number) => `rel_${number}` as ReleaseId))
        const gone = releasesToDelete(releases, isProtected, retention)
        const left = releases.filter((kept) => !gone.includes(kept) && !isProtected.has(kept.id))
        expect(gone.some((dropped) => isProtected.has(dropped.id))).toBe(false)
        expect(left.length).toBe(Math.min(retention, left.length + gone.length))
        const oldestLeft = Math.min(...left.map((kept) => kept.number))
        for (const dropped of gone) expect(dropped.number).toBeLessThan(oldestLeft)
      }),
    )
  })
})

describe('pauses between restarts', () => {
  test('the first restart is at once, then 250 ms doubling up to a minute', () => {
    expect([1, 2, 3, 4, 5].map(restartPauseMs)).toEqual([0, 250, 500, 1000, 2000])
    expect(restartPauseMs(10)).toBe(60_000)
    expect(restartPauseMs(1_000_000)).toBe(60_000)
  })

  test('never shrink', () => {
    fc.assert(
      fc.property(fc.nat(10_000), (crashes) => {
        expect(restartPauseMs(crashes + 1)).toBeGreaterThanOrEqual(restartPauseMs(crashes))
      }),
    )
  })
})

describe('derived ids', () => {
  const deployment = fc.stringMatching(/^dep_[0-9a-z]{20}$/).map((text) => text as DeploymentId)

  test('the same question gives the same id, another question another one', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(deployment, fc.nat(9), fc.nat(9)), { selector: String, minLength: 2 }), (questions) => {
        const ids = questions.map(([id, index, attempt]) => instanceIdFor(id, index, attempt))
        expect(new Set(ids).size).toBe(ids.length)
        expect(questions.map(([id, index, attempt]) => instanceIdFor(id, index, attempt))).toEqual(ids)
      }),
    )
  })

  test('an instance tells who made it', () => {
    fc.assert(
      fc.property(deployment, fc.nat(99), fc.nat(99), (id, index, attempt) => {
        expect(makerOf(instanceIdFor(id, index, attempt))).toBe(id)
        expect(releaseIdFor(id)).toBe(id.replace('dep_', 'rel_'))
      }),
    )
    expect(makerOf('ins_abc_0_1' as InstanceId)).toBe('dep_abc')
  })
})
