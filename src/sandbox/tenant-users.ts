import { createHash } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { ShiplockError } from '../core/errors.ts'
import type { EnvironmentId } from '../domain/ids.ts'
import type { Tenant } from '../domain/tenant.ts'

/** Below the ranges of systemd-nspawn (524288 and up), above ordinary accounts. */
const FIRST_USER = 200_000
const USERS_PER_ENGINE = 10_000
const ENGINE_RANGES = 30
const GONE = 'gone'

/** Which of these still exist. */
export type FindLiving = (environments: readonly EnvironmentId[]) => Promise<ReadonlySet<EnvironmentId>>

/**
 * Gives each environment of each project a user id of its own: written down before it is used (I10). A project without an environment, as
 * servers before this one knew it, keeps the user that it had. Users of environments that are gone are given again only when the range has
 * been gone through once, the one that is free for longest first.
 */
export class TenantUsers {
  readonly #file: string
  readonly #first: number
  readonly #capacity: number
  readonly #known = new Map<string, number>()
  #writing: Promise<unknown> = Promise.resolve()

  constructor(stateDirectory: string, capacity = USERS_PER_ENGINE) {
    this.#file = join(stateDirectory, 'users.json')
    this.#capacity = capacity
    // Two engines on one host begin at different places, so that their tenants are apart too, most likely.
    this.#first = FIRST_USER + (createHash('sha256').update(stateDirectory).digest().readUInt32BE() % ENGINE_RANGES) * USERS_PER_ENGINE
  }

  /** User and group id of the tenant; the same number serves as both. */
  userOf(tenant: Tenant): Promise<number> {
    const key = keyOf(tenant)
    return this.#inTurn(async () => {
      const known = this.#known.get(key) ?? (await this.#allocate(key))
      this.#known.set(key, known)
      return known
    })
  }

  /**
   * Lets go of the users of environments that are no more; nothing of theirs may run. They are asked for after those that have users are
   * known, so that one which gets its first user meanwhile is not taken for one that is gone.
   */
  retain(findLiving: FindLiving): Promise<void> {
    return this.#inTurn(async () => {
      const users = await this.#read()
      const known = [...users.keys()].flatMap((key) => environmentOf(key) ?? [])
      if (known.length === 0) return
      const living = await findLiving(known)
      const gone = [...users].filter(([key]) => {
        const environment = environmentOf(key)
        return environment !== null && !living.has(environment)
      })
      if (gone.length === 0) return
      for (const [key, user] of gone) {
        users.delete(key)
        this.#known.delete(key)
        users.set(`${GONE}/${user}`, user)
      }
      await this.#write(users)
    })
  }

  /** Read afresh each time: another server of this directory may have been at work in between. */
  async #allocate(key: string): Promise<number> {
    const users = await this.#read()
    const known = users.get(key)
    if (known !== undefined) return known
    const next = Math.max(this.#first - 1, ...users.values()) + 1
    const user = next < this.#first + this.#capacity ? next : this.#takeBack(users)
    users.set(key, user)
    await this.#write(users)
    return user
  }

  #takeBack(users: Map<string, number>): number {
    const free = [...users].find(([key]) => key.startsWith(`${GONE}/`))
    if (free === undefined) throw new ShiplockError('INTERNAL', `all ${this.#capacity} users of ${this.#file} are given away`)
    users.delete(free[0])
    return free[1]
  }

  #inTurn<Result>(action: () => Promise<Result>): Promise<Result> {
    const turn = this.#writing.then(action)
    this.#writing = turn.catch(() => {})
    return turn
  }

  #write(users: ReadonlyMap<string, number>): Promise<void> {
    return writeFileAtomic(this.#file, JSON.stringify(Object.fromEntries(users), null, 2))
  }

  async #read(): Promise<Map<string, number>> {
    try {
      return new Map(Object.entries(JSON.parse(await readFile(this.#file, 'utf8')) as Record<string, number>))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map()
      // Guessing would hand one tenant's user to another.
      throw new ShiplockError('INTERNAL', `${this.#file} can't be read`, { cause: error })
    }
  }
}

/** Servers before this one wrote the project alone. */
function keyOf({ projectId, environmentId }: Tenant): string {
  return environmentId === null ? projectId : `${projectId}/${environmentId}`
}

function environmentOf(key: string): EnvironmentId | null {
  const [project, environment] = key.split('/')
  return project === GONE || environment === undefined ? null : (environment as EnvironmentId)
}
