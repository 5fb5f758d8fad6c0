import { createHash, randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { lstat, mkdir, readdir, readFile, realpath, rm, rmdir, statfs, writeFile } from 'node:fs/promises'
import { dirname, join, relative } from 'node:path'
import { ShiplockError } from './errors.ts'

/** statfs types of file systems without a disk: tmpfs, ramfs. */
const IN_MEMORY = new Set([0x01021994, 0x858458f6])
const ATTEMPTS = 5
/** Says whose directory it is, to people and to whoever clears up. */
const OWNER_FILE = 'of'

export interface MemoryDirectoryOptions {
  /** Of the data directory: two servers of one directory find the same place, on different ones they never meet. */
  readonly dataDirectory: string
  /** Where there is no file system in memory: below the data directory, so on disk. */
  readonly fallback: string
  /** Parents to try, best first. Default: what the host usually has. */
  readonly candidates?: readonly string[]
}

/**
 * A directory for secrets that a file has to hold for a while: variables of what runs, keys of a fetch. It lies in memory, so that no disk
 * and no backup ever has them, outlives a killed server, and is gone after a reboot, as what ran with them is. It exists only while
 * something stands in it. Names are relative; directories below are for the server's eyes only unless made otherwise.
 */
export class MemoryDirectory {
  /** Where it is written. */
  readonly path: string
  /** False = no file system in memory can be written here; `path` is on disk. */
  readonly isInMemory: boolean
  /** Where an earlier server may have written: its session's directory may have been another. */
  readonly #all: readonly string[]
  readonly #owner: string

  private constructor(owner: string, path: string, isInMemory: boolean, all: readonly string[]) {
    this.#owner = owner
    this.path = path
    this.isInMemory = isInMemory
    this.#all = [path, ...all.filter((other) => other !== path)]
  }

  static async find({ dataDirectory, fallback, candidates = usualPlaces() }: MemoryDirectoryOptions): Promise<MemoryDirectory> {
    const owner = await realpath(dataDirectory)
    const user = process.getuid?.() ?? 0
    const name = `shiplock-${user === 0 ? '' : `${user}-`}${createHash('sha256').update(owner).digest('hex').slice(0, 12)}`
    const places = candidates.map((parent) => join(parent, name))
    for (const place of places) if (await canHold(place)) return new MemoryDirectory(owner, place, true, [...places, fallback])
    return new MemoryDirectory(owner, fallback, false, places)
  }

  /** One sentence for people. */
  get summary(): string {
    return this.isInMemory
      ? `variables of what runs are kept in memory (${this.path}), never on disk`
      : `variables of what runs are kept on disk (${this.path}, mode 0600): no tmpfs can be written here`
  }

  /** Makes a directory and returns its path. `mode`: also of those above it, where others shall pass to what is made theirs. */
  async make(name: string, mode: 0o700 | 0o711 = 0o700): Promise<string> {
    const path = join(this.path, name)
    await this.#within(path, async () => void (await mkdir(path, { recursive: true, mode })), mode)
    return path
  }

  /** Replaces the file; returns its path. */
  async write(name: string, content: string | Uint8Array): Promise<string> {
    const path = join(this.path, name)
    await this.#within(path, () => writeFile(path, content, { mode: 0o600 }))
    return path
  }

  /** Null = there is none. */
  async read(name: string): Promise<string | null> {
    for (const place of this.#all) {
      const text = await readFile(join(place, name), 'utf8').catch(() => null)
      if (text !== null) return text
    }
    return null
  }

  /** A file, or a directory and all below it. A missing one is success. */
  async remove(name: string): Promise<void> {
    for (const place of this.#all) {
      const path = join(place, name)
      await rm(path, { recursive: true, force: true })
      await this.#tidy(dirname(path), place)
    }
  }

  /** Names of what stands in that directory. */
  async list(name: string): Promise<readonly string[]> {
    const found = await Promise.all(this.#all.map((place) => readdir(join(place, name)).catch(() => [])))
    return [...new Set(found.flat())]
  }

  /** What stands in that directory for longer than that: whoever put it there was killed before it was used. */
  async removeOlder(name: string, ageMs: number): Promise<void> {
    for (const entry of await this.list(name)) {
      for (const place of this.#all) {
        const found = await lstat(join(place, name, entry)).catch(() => null)
        if (found !== null && Date.now() - found.mtimeMs > ageMs) await this.remove(join(name, entry))
      }
    }
  }

  /** Another removal may take the directory away at the moment in which it was made. */
  async #within(path: string, action: () => Promise<void>, mode = 0o700): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#open()
        await mkdir(dirname(path), { recursive: true, mode })
        await action()
        return
      } catch (error) {
        const { code } = error as NodeJS.ErrnoException
        if (code === 'ENOSPC') throw diskFull(this.path, error)
        if (code !== 'ENOENT' || attempt === ATTEMPTS) throw error
      }
    }
  }

  /** Others may pass through, to what is made theirs below, and see nothing of it. */
  async #open(): Promise<void> {
    const made = await mkdir(this.path, { recursive: true, mode: 0o711 })
    if (!(await isOurs(this.path))) throw new ShiplockError('INTERNAL', `${this.path} belongs to somebody else`)
    if (made !== undefined) await writeFile(join(this.path, OWNER_FILE), `${this.#owner}\n`, { mode: 0o600 })
  }

  /** Removes directories that are empty, up to the whole. */
  async #tidy(from: string, place: string): Promise<void> {
    for (let current = from; !relative(place, current).startsWith('..'); current = dirname(current)) {
      const names = await readdir(current).catch(() => null)
      if (names === null) continue
      if (current === place && names.length === 1 && names[0] === OWNER_FILE) await rm(join(place, OWNER_FILE), { force: true })
      const isGone = await rmdir(current).then(
        () => true,
        () => false,
      )
      if (!isGone) return
    }
  }
}

function usualPlaces(): readonly string[] {
  const user = process.getuid?.() ?? 0
  return [user === 0 ? '/run' : `/run/user/${user}`, '/dev/shm']
}

/**
 * Tried for real: what is mounted read only, full or of somebody else is no place. Under a name of its own: the place itself comes and
 * goes with what stands in it, also while this looks.
 */
async function canHold(place: string): Promise<boolean> {
  const trial = `${place}-${randomBytes(6).toString('hex')}`
  try {
    if (!IN_MEMORY.has((await statfs(dirname(place))).type)) return false
    await mkdir(trial, { mode: 0o711 })
    await rmdir(trial)
    return await isOurs(place)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && existsSync(dirname(place))
  }
}

/** In a directory that all may write, somebody else may have been first. */
async function isOurs(place: string): Promise<boolean> {
  const found = await lstat(place)
  return found.isDirectory() && found.uid === (process.getuid?.() ?? 0) && (found.mode & 0o022) === 0
}

function diskFull(path: string, cause: unknown): ShiplockError {
  return new ShiplockError('DISK_FULL', `${path} is full: there is no room for the variables of what runs`, {
    hint: 'It is a file system in memory: see what else stands in it (df, du), or make it larger (mount -o remount,size=…).',
    cause,
  })
}
