import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { ShiplockError } from '../core/errors.ts'
import type { ProjectId } from '../domain/ids.ts'

/** Below the ranges of systemd-nspawn (524288 and up), above ordinary accounts. */
const FIRST_USER = 200_000
const USERS_PER_ENGINE = 10_000
const ENGINE_RANGES = 30

/** Gives each project a user id of its own, for ever: written down before it is used, never given to another project (I10). */
export class ProjectUsers {
  readonly #file: string
  readonly #first: number
  #known: Map<string, number> | null = null
  #writing: Promise<unknown> = Promise.resolve()

  constructor(stateDirectory: string) {
    this.#file = join(stateDirectory, 'users.json')
    // Two engines on one host begin at different places, so that their projects are apart too, most likely.
    this.#first = FIRST_USER + (createHash('sha256').update(stateDirectory).digest().readUInt32BE() % ENGINE_RANGES) * USERS_PER_ENGINE
  }

  /** User and group id of the project; the same number serves as both. */
  async userOf(project: ProjectId): Promise<number> {
    const turn = this.#writing.then(() => this.#allocate(project))
    this.#writing = turn.catch(() => {})
    return turn
  }

  async #allocate(project: ProjectId): Promise<number> {
    this.#known ??= await this.#read()
    const known = this.#known.get(project)
    if (known !== undefined) return known
    const next = Math.max(this.#first - 1, ...this.#known.values()) + 1
    if (next >= this.#first + USERS_PER_ENGINE) throw new ShiplockError('INTERNAL', `all ${USERS_PER_ENGINE} project users are given away`)
    await writeFileAtomic(this.#file, JSON.stringify(Object.fromEntries([...this.#known, [project, next]]), null, 2))
    this.#known.set(project, next)
    return next
  }

  async #read(): Promise<Map<string, number>> {
    try {
      return new Map(Object.entries(JSON.parse(await readFile(this.#file, 'utf8')) as Record<string, number>))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
      // Guessing would hand one project's user to another.
      throw new ShiplockError('INTERNAL', `${this.#file} can't be read`, { cause: error })
    }
  }
}
