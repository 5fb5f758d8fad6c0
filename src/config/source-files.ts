import { constants } from 'node:fs'
import { open, readdir, realpath } from 'node:fs/promises'
import { isAbsolute, join, relative, resolve, sep } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { relativePathProblem } from './manifest/fields.ts'

/**
 * The files of a fetched source, read as foreign input (I9): bounded, regular files only, never through a link that leaves the source.
 */
export class SourceFiles {
  readonly root: string
  /** The source that this is a directory of; null = it is the whole. */
  readonly around: SourceFiles | null
  #outline: Promise<readonly string[]> | null = null

  private constructor(root: string, around: SourceFiles | null = null) {
    this.root = root
    this.around = around
  }

  static async open(directory: string): Promise<SourceFiles> {
    try {
      return new SourceFiles(await realpath(directory))
    } catch (error) {
      throw new ShiplockError('CONFIG_NOT_FOUND', `there is no directory ${printable(directory)}`, {
        hint: 'Check the path.',
        cause: error,
      })
    }
  }

  /** The same for a directory inside; refuses one that is not inside. */
  async inside(path: string, what: string): Promise<SourceFiles> {
    const real = await this.#resolve(path, what)
    if (real === null) throw new ShiplockError('CONFIG_INVALID', `${what} ${printable(path)} does not exist in the source`)
    return new SourceFiles(real, this)
  }

  async has(path: string): Promise<boolean> {
    return (await this.#kind(path)) === 'file'
  }

  async hasDirectory(path: string): Promise<boolean> {
    return (await this.#kind(path)) === 'directory'
  }

  /** The text of a file; null when there is none. Larger than `bytesMax` or not UTF-8 is CONFIG_INVALID. */
  async read(path: string, bytesMax: number): Promise<string | null> {
    const real = await this.#resolve(path, 'the file')
    if (real === null) return null
    // NONBLOCK: opening a named pipe must not wait for its writer.
    const handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { size } = await handle.stat()
      if (!(await handle.stat()).isFile()) throw new ShiplockError('CONFIG_INVALID', `${printable(path)} is no regular file`)
      if (size > bytesMax) throw new ShiplockError('CONFIG_INVALID', `${printable(path)} has ${size} bytes; at most ${bytesMax} are read`)
      const buffer = Buffer.alloc(bytesMax + 1)
      const { bytesRead } = await handle.read(buffer, 0, bytesMax + 1, 0)
      return new TextDecoder('utf-8', { fatal: true }).decode(buffer.subarray(0, Math.min(bytesRead, bytesMax)))
    } catch (error) {
      if (error instanceof TypeError) throw new ShiplockError('CONFIG_INVALID', `${printable(path)} is not UTF-8 text`, { cause: error })
      throw error
    } finally {
      await handle.close()
    }
  }

  /** The same for a file that only helps a guess: what can't be read as text counts as absent. */
  async readIfText(path: string): Promise<string | null> {
    try {
      return await this.read(path, LIMITS.detectFileBytes)
    } catch {
      return null
    }
  }

  /**
   * Paths of the files, those near the top first, each directory in the order of names; bounded, so a large tree is known in part.
   * Left out: links, names that begin with a dot, and directories that hold what others wrote (`node_modules`, `vendor`, …).
   */
  outline(): Promise<readonly string[]> {
    this.#outline ??= listFiles(this.root)
    return this.#outline
  }

  async #kind(path: string): Promise<'file' | 'directory' | 'other' | null> {
    const real = await this.#resolve(path, 'the file')
    if (real === null) return null
    const handle = await open(real, constants.O_RDONLY | constants.O_NONBLOCK).catch(() => null)
    if (handle === null) return 'other'
    try {
      const stat = await handle.stat()
      return stat.isFile() ? 'file' : stat.isDirectory() ? 'directory' : 'other'
    } finally {
      await handle.close()
    }
  }

  async #resolve(path: string, what: string): Promise<string | null> {
    const problem = path.includes('\0') ? 'must not hold a NUL character' : relativePathProblem(path)
    if (problem !== null) throw new ShiplockError('CONFIG_INVALID', `${what} ${printable(path)} ${problem}`)
    let real: string
    try {
      real = await realpath(resolve(join(this.root, path)))
    } catch {
      return null
    }
    const inner = relative(this.root, real)
    if (inner === '..' || inner.startsWith(`..${sep}`) || isAbsolute(inner))
      throw new ShiplockError('CONFIG_INVALID', `${what} ${printable(path)} is a link that leaves the source`, {
        hint: 'Replace the link by the file itself.',
      })
    return real
  }
}

const NOT_ENTERED = new Set(['node_modules', 'bower_components', 'vendor', 'venv', 'env', '__pycache__', 'target', 'site-packages'])

async function listFiles(root: string): Promise<readonly string[]> {
  const found: string[] = []
  const directories = ['']
  let room: number = LIMITS.detectEntries
  // Grows while it is gone through, so that what is near the top comes first.
  for (const directory of directories) {
    const entries = await entriesOf(root, directory)
    room -= entries.length
    if (room < 0) break
    const pathOf = ({ name }: { readonly name: string }) => (directory === '' ? name : `${directory}/${name}`)
    found.push(...entries.filter((entry) => entry.isFile()).map(pathOf))
    if (directory.split('/').length >= LIMITS.detectDepth) continue
    directories.push(...entries.filter((entry) => entry.isDirectory() && !NOT_ENTERED.has(entry.name)).map(pathOf))
  }
  return found
}

/** What can't be opened holds nothing; names that could not be written in a path are left out. */
async function entriesOf(root: string, directory: string) {
  const entries = await readdir(join(root, directory), { withFileTypes: true }).catch(() => [])
  return entries.filter(({ name }) => !name.startsWith('.') && !/[\\\ufffd]/.test(name)).sort((a, b) => (a.name < b.name ? -1 : 1))
}
