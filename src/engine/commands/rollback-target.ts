import { ShiplockError } from '../../core/errors.ts'
import type { ReleaseRecord } from '../../store/sql/release-view.ts'

export interface RollbackWish {
  /** null = choose. */
  readonly number: number | null
  /** Also one that failed last, or that is live. */
  readonly force: boolean
}

/**
 * The release that a rollback goes to. Unnamed: the newest kept one before the live one that has served and whose last attempt did not
 * fail; after a rollback that is one further back, never the one that was just left. Throws ROLLBACK_UNAVAILABLE, naming what there is.
 */
export function chooseRollbackTarget(kept: readonly ReleaseRecord[], wish: RollbackWish): ReleaseRecord {
  const live = kept.find((record) => record.isLive)
  if (wish.number === null) {
    const before = live?.release.number ?? Number.POSITIVE_INFINITY
    const found = kept.find(
      (record) => record.release.number < before && record.release.firstLiveAt !== null && record.lastStatus !== 'failed',
    )
    if (found === undefined) throw unavailable(`there is no earlier release to go back to`, kept)
    return found
  }
  const named = kept.find((record) => record.release.number === wish.number)
  if (named === undefined) throw unavailable(`release v${wish.number} does not exist or is no longer kept`, kept)
  if (named.isLive && !wish.force) throw unavailable(`release v${wish.number} is live already`, kept)
  if (named.lastStatus === 'failed' && !wish.force) throw unavailable(`the last attempt to run release v${wish.number} failed`, kept, true)
  return named
}

const NAMED_MAX = 12

function unavailable(reason: string, kept: readonly ReleaseRecord[], isForceable = false): ShiplockError {
  const choices = kept.filter((record) => !record.isLive).map((record) => record.release.number)
  const listed = choices.slice(0, NAMED_MAX).map((number) => `v${number}`)
  const there = choices.length === 0 ? 'no other release is kept' : `kept: ${listed.join(', ')}${choices.length > NAMED_MAX ? ' …' : ''}`
  return new ShiplockError('ROLLBACK_UNAVAILABLE', `${reason}; ${there}`, {
    details: { kept: choices },
    ...(isForceable ? { hint: 'Choose another release, or insist with `force` (--force).' } : {}),
  })
}
