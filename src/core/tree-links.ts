import { BoundedWork } from './bounded-work.ts'
import { LIMITS } from './limits.ts'
import type { TreeEntry } from './walk-tree.ts'

const HOPS_MAX = 40

/**
 * The first symlink that leads out of its tree, or null. Resolved as the kernel would, through other links of the tree
 * (`x -> .` and `y -> x/..` leaves it, although no target looks so by itself). Absolute targets always leave; a link to
 * something missing inside is harmless.
 */
export async function findLeavingLink(entries: readonly TreeEntry[], signal: AbortSignal | null = null): Promise<TreeEntry | null> {
  const links = new Map<string, string>()
  for (const entry of entries) if (entry.kind === 'symlink') links.set(entry.path, entry.target ?? '')
  const work = new BoundedWork(`following ${links.size} links of the tree`, LIMITS.linkSteps, signal)
  for (const entry of entries) {
    if (entry.kind === 'symlink' && leaves(entry.path, links, work)) return entry
    if (work.isDue) await work.rest()
  }
  return null
}

function leaves(path: string, links: ReadonlyMap<string, string>, work: BoundedWork): boolean {
  let hops = 0
  /** The directories above the place that was reached, outermost first, each as its whole path. */
  const at: string[] = []
  const todo = path.split('/').reverse()
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (at.length === 0) return true
      at.pop()
      continue
    }
    const above = at.at(-1)
    const place = above === undefined ? name : `${above}/${name}`
    at.push(place)
    work.spend(1 + place.length / 16)
    const target = links.get(place)
    if (target === undefined) continue
    if (target.startsWith('/')) return true
    hops += 1
    // A loop resolves to nothing (ELOOP), so it leads nowhere.
    if (hops > HOPS_MAX) return false
    at.pop()
    todo.push(...target.split('/').reverse())
  }
  return false
}
