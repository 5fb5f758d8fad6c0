import type { ReleaseId } from './ids.ts'
import type { Release } from './release.ts'

/**
 * Which kept releases go. `releases` newest first. `retention` counts the releases kept besides the protected ones
 * (live, its way back, in progress, queued as a target, with an instance, pinned), which always stay (DESIGN.md §2).
 */
export function releasesToDelete(releases: readonly Release[], isProtected: ReadonlySet<ReleaseId>, retention: number): Release[] {
  return releases.filter((release) => !isProtected.has(release.id)).slice(retention)
}
