import { LIMITS } from '../../core/limits.ts'
import type { PushEvent } from '../../domain/push.ts'
import { fieldsOf } from './fields.ts'
import { harmless } from './harmless-text.ts'

type ChangedPaths = Pick<PushEvent, 'changedPaths' | 'changedPathsNote'>

/** What a host says about the commits of a push. */
export interface PushedCommits {
  readonly commits: readonly unknown[] | null
  /** Of the push, when the host says it; the list may be shorter. */
  readonly total: number | null
  /** The longest list that this host sends; one of that length may have been cut. Null = it says the total. */
  readonly listedMax: number | null
  readonly after: string | null
  readonly isBranch: boolean
  readonly isCreation: boolean
  readonly isDeletion: boolean
  readonly isForced: boolean | null
}

const KEYS = ['added', 'modified', 'removed'] as const

/**
 * All paths that the push changed, or why that can't be told. It is told only when every commit is listed with its files: a path that is
 * missed would leave a service undeployed without anybody knowing.
 */
export function changedPathsOf(push: PushedCommits): ChangedPaths {
  const note = whyUntold(push)
  if (note !== null) return untold(note)
  const paths = new Set<string>()
  let isHeadListed = false
  for (const [index, commit] of (push.commits ?? []).entries()) {
    const fields = fieldsOf(commit, `payload.commits[${index}]`)
    if (fields.optionalText('id')?.toLowerCase() === push.after) isHeadListed = true
    const lists = KEYS.map((key) => fields.optionalList(key))
    if (lists.every((list) => list === null)) return untold('the payload lists no files')
    for (const path of lists.flatMap((list) => list ?? [])) {
      if (typeof path !== 'string') return untold('the list of files is not readable')
      if (path.length > LIMITS.webhookPathCharacters) return untold('a path is too long')
      paths.add(harmless(path, LIMITS.webhookPathCharacters))
      if (paths.size > LIMITS.webhookPaths) return untold(`more than ${LIMITS.webhookPaths} paths changed`)
    }
  }
  if (!isHeadListed) return untold('the newest commit is not in the payload')
  // Merges and empty commits list nothing, though the tree may differ.
  if (paths.size === 0) return untold('the commits list no files')
  return { changedPaths: [...paths], changedPathsNote: null }
}

function whyUntold({ commits, total, listedMax, isBranch, isCreation, isDeletion, isForced }: PushedCommits): string | null {
  if (isDeletion) return 'a deletion changes no file'
  if (!isBranch) return 'a tag is not a change of files'
  if (isCreation) return 'a new branch has nothing to be compared with'
  if (isForced === true) return 'a forced push may also have dropped commits'
  if (commits === null || commits.length === 0) return 'the payload lists no commits'
  if (total !== null && total > commits.length) return `the payload lists only ${commits.length} of ${total} commits`
  if (total === null && listedMax !== null && commits.length >= listedMax) {
    return `the payload may list only the first ${commits.length} commits`
  }
  return null
}

function untold(note: string): ChangedPaths {
  return { changedPaths: null, changedPathsNote: note }
}
