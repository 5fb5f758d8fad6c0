import type { TreeEntry } from './walk-tree.ts'

const HOPS_MAX = 40

/**
 * The first symlink that leads out of its tree, or null. Resolved as the kernel would, through other links of the tree
 * (`x -> .` and `y -> x/..` leaves it, although no target looks so by itself). Absolute targets always leave; a link to
 * something missing inside is harmless.
 */
export function findLeavingLink(entries: readonly TreeEntry[]): TreeEntry | null {
  const links = new Map<string, string>()
  for (const entry of entries) if (entry.kind === 'symlink') links.set(entry.path, entry.target ?? '')
  for (const entry of entries) {
    if (entry.kind === 'symlink' && leaves(entry.path, links)) return entry
  }
  return null
}

function leaves(path: string, links: ReadonlyMap<string, string>): boolean {
  let hops = 0
  const at: string[] = []
  const todo = path.split('/').reverse()
  for (let name = todo.pop(); name !== undefined; name = todo.pop()) {
    if (name === '' || name === '.') continue
    if (name === '..') {
      if (at.length === 0) return true
      at.pop()
      continue
    }
    at.push(name)
    const target = links.get(at.join('/'))
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
