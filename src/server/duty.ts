import type { Clock } from '../core/clock.ts'
import { acquireDirectoryLock, type DirectoryLock } from '../core/directory-lock.ts'
import { isShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Service } from '../core/service.ts'
import { Periodic } from '../engine/periodic.ts'
import type { Database } from '../store/database.ts'
import type { Owner } from '../store/sql/leases.ts'
import { freeLeasesOfNode, noteGone, noteSeen } from '../store/sql/servers.ts'

export interface DutyParts {
  readonly database: Database
  readonly owner: Owner
  readonly clock: Clock
  readonly logger: Logger
  /** Of the node. */
  readonly directory: string
  /** What only one server of a node may do at a time, in order; started when this one's turn comes, stopped in reverse. */
  readonly work: readonly Service[]
}

/**
 * Which server of a node works. The node's directory lock decides: the kernel drops it with the process, so that after a kill -9 the next
 * one begins within a look, and two never do. The others stand by: their API and streams answer, they touch nothing.
 */
export class Duty implements Service {
  readonly #parts: DutyParts
  readonly #looks: Periodic
  readonly #presence: Periodic
  #lock: DirectoryLock | null = null
  #begun: Service[] = []

  constructor(parts: DutyParts) {
    this.#parts = parts
    this.#looks = new Periodic('look for duty', LIMITS.dutyLookMs, parts, () => this.#look())
    this.#presence = new Periodic('presence', LIMITS.heartbeatMs, parts, () => noteSeen(parts.database, parts.owner, this.isWorking))
  }

  get isWorking(): boolean {
    return this.#lock !== null
  }

  /** Begins to work at once where nobody does. Rejects with what kept the work from starting: then nothing was begun. */
  async start(): Promise<void> {
    await this.#take()
    await this.#presence.start()
    await this.#looks.start()
  }

  async stop(): Promise<void> {
    await this.#looks.stop()
    await this.#presence.stop()
    await this.#letGo()
    await noteGone(this.#parts.database, this.#parts.owner).catch(() => {})
  }

  async #look(): Promise<void> {
    if (this.#lock !== null) return
    await this.#take()
    if (this.isWorking) this.#parts.logger.info('took over the work of this node')
  }

  async #take(): Promise<void> {
    const { database, owner, directory, work } = this.#parts
    this.#lock = await acquireDirectoryLock(directory, 'node').catch((error: unknown) => {
      if (isShiplockError(error, 'DATA_DIRECTORY_LOCKED')) return null
      throw error
    })
    if (this.#lock === null) return
    try {
      await freeLeasesOfNode(database, owner.serverId)
      for (const service of work) {
        this.#begun.push(service)
        await service.start()
      }
      await noteSeen(database, owner, true)
    } catch (error) {
      // Another server, or the next look, may have more luck: a port that is still taken, a database that went away.
      await this.#letGo()
      throw error
    }
  }

  async #letGo(): Promise<void> {
    for (const service of this.#begun.reverse()) {
      await service.stop().catch((error: unknown) => this.#parts.logger.warn('a part did not stop cleanly', { error }))
    }
    this.#begun = []
    await this.#lock?.release()
    this.#lock = null
  }
}
