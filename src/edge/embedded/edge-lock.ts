import { link, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { systemClock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { identify, isAlive, type ProcessIdentity } from '../../core/process-identity.ts'
import { randomId } from '../../core/random-id.ts'

const STALE_BREAKER_MS = 5000

/**
 * At most one primary per state directory. The lock names a process by pid, start time and boot, so a reused pid never holds it and a
 * kill -9 frees it. `link` makes it: the file appears whole or not at all.
 */
export class EdgeLock {
  readonly #path: string
  readonly #breaker: string

  constructor(directory: string) {
    this.#path = join(directory, 'edge.lock')
    this.#breaker = join(directory, 'edge.lock.break')
  }

  /** Throws DATA_DIRECTORY_LOCKED while another primary lives. */
  async acquire(): Promise<void> {
    const mine = identify(process.pid)
    if (mine === null) throw new ShiplockError('INTERNAL', 'this process can not be identified; is /proc mounted?')
    const draft = `${this.#path}.${randomId('try')}`
    await writeFile(draft, JSON.stringify(mine), { mode: 0o600 })
    try {
      for (let attempt = 0; attempt < 100; attempt++) {
        if (await linked(draft, this.#path)) return
        const holder = await this.holder()
        if (holder !== null && holder.pid === mine.pid && isAlive(holder)) return
        if (holder !== null) throw new ShiplockError('DATA_DIRECTORY_LOCKED', `an edge already runs there (pid ${holder.pid})`)
        await this.#breakStale(draft)
        await systemClock.sleep(10)
      }
      throw new ShiplockError('DATA_DIRECTORY_LOCKED', 'the lock of the edge could not be taken')
    } finally {
      await rm(draft, { force: true })
    }
  }

  /** The living process that holds the lock; null = free or stale. */
  async holder(): Promise<ProcessIdentity | null> {
    const text = await readFile(this.#path, 'utf8').catch(() => null)
    if (text === null) return null
    const identity = JSON.parse(text) as ProcessIdentity
    return isAlive(identity) ? identity : null
  }

  async release(): Promise<void> {
    const holder = await this.holder()
    if (holder !== null && holder.pid === process.pid) await rm(this.#path, { force: true })
  }

  /** Two that find the same stale lock must not remove each other's new one: only the holder of the breaker removes. */
  async #breakStale(draft: string): Promise<void> {
    if (!(await linked(draft, this.#breaker))) {
      const made = await stat(this.#breaker).catch(() => null)
      if (made !== null && Date.now() - made.ctimeMs > STALE_BREAKER_MS) await rm(this.#breaker, { force: true })
      return
    }
    try {
      if ((await this.holder()) === null) await rm(this.#path, { force: true })
    } finally {
      await rm(this.#breaker, { force: true })
    }
  }
}

async function linked(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}
