import { createHash } from 'node:crypto'
import { createReadStream, type Stats } from 'node:fs'

const HASHED_BYTES_MAX = 32 * 1024 * 1024
const REMEMBERED_MAX = 10_000

/**
 * What an answer is known by in caches: the hash of the content, since all files of a version may have one and the same time. The largest
 * go by size and times, which at worst sends them once more.
 */
export class ContentTags {
  readonly #known = new Map<string, { readonly mark: string; readonly tag: string }>()

  async of(path: string, stat: Stats): Promise<string> {
    const mark = `${stat.ino}-${stat.size}-${stat.mtimeMs}-${stat.ctimeMs}`
    const known = this.#known.get(path)
    if (known?.mark === mark) return known.tag
    const tag =
      stat.size > HASHED_BYTES_MAX ? `"${createHash('sha256').update(mark).digest('base64url').slice(0, 22)}"` : await hashOf(path)
    if (this.#known.size >= REMEMBERED_MAX) this.#known.clear()
    this.#known.set(path, { mark, tag })
    return tag
  }
}

async function hashOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer)
  return `"${hash.digest('base64url').slice(0, 22)}"`
}
