import { describe, expect, test } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import type { Release } from '../../domain/release.ts'
import type { ReleaseRecord } from '../../store/sql/release-view.ts'
import { chooseRollbackTarget } from './rollback-target.ts'

interface Given {
  readonly live?: boolean
  readonly served?: boolean
  readonly last?: string
}

/** Kept releases, newest first, as the store lists them. */
function kept(releases: Readonly<Record<number, Given>>): ReleaseRecord[] {
  return Object.entries(releases)
    .map(([number, given]) => ({
      release: {
        id: `rel_${number}`,
        number: Number(number),
        firstLiveAt: given.served === false ? null : '2026-01-01T00:00:00.000Z',
      } as unknown as Release,
      isKept: true,
      isLive: given.live === true,
      hasStandby: false,
      scan: null,
      lastStatus: given.last ?? 'superseded',
    }))
    .sort((a, b) => b.release.number - a.release.number)
}

const choose = (releases: Readonly<Record<number, Given>>, number: number | null = null, force = false) =>
  chooseRollbackTarget(kept(releases), { number, force }).release.number

const refusal = (releases: Readonly<Record<number, Given>>, number: number | null = null): ShiplockError => {
  try {
    choose(releases, number)
  } catch (error) {
    if (error instanceof ShiplockError) return error
  }
  throw new Error('was not refused')
}

describe('where a rollback goes', () => {
  test('unnamed: the newest kept release before the live one', () => {
    expect(choose({ 1: {}, 2: {}, 3: { live: true, last: 'running' } })).toBe(2)
  })

  test('never one that has not served, or whose last attempt failed', () => {
    expect(choose({ 1: {}, 2: { last: 'failed' }, 3: { served: false }, 4: { live: true } })).toBe(1)
  })

  test('a second rollback goes further back, not to the version that was just left', () => {
    expect(choose({ 1: {}, 2: { live: true }, 3: { last: 'rolled_back' } })).toBe(1)
  })

  test('with nothing live: the newest that served', () => {
    expect(choose({ 1: {}, 2: {} })).toBe(2)
  })

  test('named: any kept release, newer ones too', () => {
    expect(choose({ 1: {}, 2: { live: true }, 3: { last: 'rolled_back' } }, 3)).toBe(3)
  })

  test('an unknown or deleted number is refused, naming what there is', () => {
    const error = refusal({ 2: {}, 3: { live: true }, 5: {} }, 1)
    expect(error.code).toBe('ROLLBACK_UNAVAILABLE')
    expect(error.message).toBe('release v1 does not exist or is no longer kept; kept: v5, v2')
    expect(error.details).toEqual({ kept: [5, 2] })
  })

  test('the live one and one that failed are refused unless forced', () => {
    expect(refusal({ 1: {}, 2: { live: true } }, 2).message).toContain('is live already')
    expect(refusal({ 1: { last: 'failed' }, 2: { live: true } }, 1).hint).toContain('--force')
    expect(choose({ 1: { last: 'failed' }, 2: { live: true } }, 1, true)).toBe(1)
  })

  test('nothing to go back to is said so', () => {
    expect(refusal({ 1: { live: true } }).message).toBe('there is no earlier release to go back to; no other release is kept')
  })
})
