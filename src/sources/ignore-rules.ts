import { readFile, stat } from 'node:fs/promises'
import { dirname, join, relative, resolve, sep } from 'node:path'
import type { BoundedWork } from '../core/bounded-work.ts'
import { IgnoreFile } from '../core/ignore-file.ts'

/** Read in this order: a later file of the same directory has the last word. */
const IGNORE_FILES = ['.gitignore', '.deployignore']
/** What nobody means to upload; `!node_modules` in an ignore file brings it back. `.git` can't be brought back. */
const DEFAULT_RULES = 'node_modules/\n.DS_Store\n*.swp'
const ANCESTORS_MAX = 32

interface Layer {
  /** Relative to the packed root; `''` = the root, starts with `..` above it. */
  readonly base: string
  readonly rules: IgnoreFile
}

/** The ignore rules that hold at one directory: those of the directories above and its own. */
export class IgnoreRules {
  readonly #root: string
  readonly #layers: readonly Layer[]

  private constructor(root: string, layers: readonly Layer[]) {
    this.#root = root
    this.#layers = layers
  }

  /** Rules at the root of `directory`, those of the git repository around it included. */
  static async at(directory: string): Promise<IgnoreRules> {
    const root = resolve(directory)
    const layers: Layer[] = [{ base: '', rules: await IgnoreFile.parse(DEFAULT_RULES, 'the rules for all uploads') }]
    for (const ancestor of await ancestorsInRepository(root)) layers.push(...(await readLayers(root, ancestor, ['.gitignore'])))
    layers.push(...(await readLayers(root, root, IGNORE_FILES)))
    return new IgnoreRules(root, layers)
  }

  /** Rules inside a directory below the root. */
  async enter(path: string): Promise<IgnoreRules> {
    const own = await readLayers(this.#root, join(this.#root, path), IGNORE_FILES)
    return own.length === 0 ? this : new IgnoreRules(this.#root, [...this.#layers, ...own])
  }

  /** The deepest rule file with an opinion decides, as in git. */
  async ignores(path: string, isDirectory: boolean, work: BoundedWork): Promise<boolean> {
    if (path.split('/').includes('.git')) return true
    let ignored = false
    for (const { base, rules } of this.#layers) {
      const inside = relative(join(this.#root, base), join(this.#root, path)).split(sep).join('/')
      const verdict = await rules.verdict(inside, isDirectory, work)
      if (verdict !== null) ignored = verdict === 'ignored'
    }
    return ignored
  }
}

async function readLayers(root: string, directory: string, names: readonly string[]): Promise<Layer[]> {
  const base = relative(root, directory)
  const layers: Layer[] = []
  for (const name of names) {
    const text = await readFile(join(directory, name), 'utf8').catch(() => '')
    if (text.trim() !== '') layers.push({ base, rules: await IgnoreFile.parse(text, base === '' ? name : `${base}/${name}`) })
  }
  return layers
}

/** Directories above `root` up to the one that holds `.git`, outermost first; none outside a repository. */
async function ancestorsInRepository(root: string): Promise<string[]> {
  const above: string[] = []
  let at = root
  for (let depth = 0; depth < ANCESTORS_MAX; depth++) {
    if (await stat(join(at, '.git')).catch(() => null)) return above.reverse()
    const parent = dirname(at)
    if (parent === at) return []
    above.push(parent)
    at = parent
  }
  return []
}
