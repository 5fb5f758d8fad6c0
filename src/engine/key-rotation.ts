import { randomBytes } from 'node:crypto'
import { crashPoint } from '../core/crash-points.ts'
import { ShiplockError } from '../core/errors.ts'
import { type KeySource, loadKeys, writeKeys } from '../core/key-file.ts'
import { LIMITS } from '../core/limits.ts'
import { KEY_BYTES, type Keyring, keyId } from '../core/seal.ts'
import { isTransient } from '../store/database.ts'
import {
  beginRetiring,
  countSealedOtherwise,
  listSealedColumns,
  listSealingKeys,
  readSealedOtherwise,
  registerSealingKey,
  replaceSealed,
  retireSealingKey,
  type SealedColumn,
  type SealingKey,
} from '../store/sql/sealing-keys.ts'
import type { EngineDependencies } from './dependencies.ts'
import { Periodic } from './periodic.ts'

type Dependencies = Pick<EngineDependencies, 'database' | 'owner' | 'clock' | 'logger'> & {
  readonly keyring: Keyring
  readonly source: KeySource
}

/** What is known of the keys; an id tells nothing of its key. */
export interface KeyReport {
  readonly source: KeySource['kind']
  readonly current: string
  readonly keys: readonly {
    readonly id: string
    readonly state: SealingKey['state']
    readonly changedAt: string
    readonly isHere: boolean
  }[]
  /** Values that are not sealed with the current key yet. */
  readonly remaining: number
}

/**
 * Exchanges the key that everything is sealed with, while the server works. Each step is recorded before the next is begun, so that a
 * server that is killed goes on where it was: decided (in the database), new key first in the key file, values sealed anew in small
 * transactions, old key retired (nothing is sealed with it, and nothing can be from then on), old key gone from the file.
 */
export class KeyRotation {
  readonly #dependencies: Dependencies
  readonly #periodic: Periodic

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies
    this.#periodic = new Periodic('key rotation', LIMITS.keyRotationPeriodMs, dependencies, (signal) => this.#round(signal))
  }

  start(): Promise<void> {
    return this.#periodic.start()
  }

  stop(): Promise<void> {
    return this.#periodic.stop()
  }

  /** Before anything is sealed. Refuses a key that this database does not know while it knows others: what is sealed could not be opened. */
  async adopt(): Promise<void> {
    const { database, keyring } = this.#dependencies
    const known = await listSealingKeys(database)
    const here = new Set(keyring.keys.map((key) => keyId(key).toString('hex')))
    const needed = known.filter((key) => key.state !== 'retired').map((key) => hex(key.id))
    const missing = needed.filter((id) => !here.has(id))
    if (needed.length > 0 && missing.length === needed.length) {
      throw new ShiplockError(
        'SECRET_KEY_REFUSED',
        `the key of this server is not the one that the database was sealed with (${missing.join(', ')})`,
      )
    }
    await registerSealingKey(database, keyring.currentId)
  }

  /** Decides to rotate; the rest happens in the background, after a crash too. Throws CONFLICT when it can't be begun. */
  async begin(): Promise<void> {
    const { database, keyring, source, owner } = this.#dependencies
    // Whoever put several keys there has chosen the new one, for other servers too.
    const retiring = keyring.keys.length === 1 && source.kind === 'file' ? keyring.keys : keyring.keys.slice(1)
    if (retiring.length === 0) {
      throw new ShiplockError('CONFLICT', 'the key is a setting of this server, which only its owner can change', {
        hint: 'Put a new key before the old one in SHIPLOCK_SECRET_KEY (new,old), restart, and rotate again.',
      })
    }
    const isBegun = await database.transaction((tx) => beginRetiring(tx, retiring.map(keyId), owner.serverId))
    if (!isBegun)
      throw new ShiplockError('CONFLICT', 'a key is being rotated already', { hint: '`shiplock server key` shows how far it is.' })
    crashPoint('rotate-key.decided')
    await this.#periodic.stop()
    await this.#periodic.start()
  }

  async report(): Promise<KeyReport> {
    const { database, keyring, source } = this.#dependencies
    const here = new Set(keyring.keys.map((key) => keyId(key).toString('hex')))
    const columns = await listSealedColumns(database)
    const counts = await Promise.all(columns.map((at) => countSealedOtherwise(database, at, keyring.currentId)))
    const keys = (await listSealingKeys(database)).map(({ id, state, changedAt }) => ({
      id: hex(id),
      state,
      changedAt,
      isHere: here.has(hex(id)),
    }))
    return {
      source: source.kind,
      current: keyring.currentId.toString('hex'),
      keys,
      remaining: counts.reduce((sum, count) => sum + count, 0),
    }
  }

  async #round(signal: AbortSignal): Promise<void> {
    const { database, keyring, owner } = this.#dependencies
    const known = await listSealingKeys(database)
    const states = new Map(known.map((key) => [hex(key.id), key]))
    const current = states.get(keyring.currentId.toString('hex'))
    const isOurs = (key: SealingKey | undefined) => key?.state === 'retiring' && key.serverId === owner.serverId
    if (current !== undefined && current.state !== 'active') await this.#replaceCurrent(isOurs(current))
    await this.#forgetRetired(new Set(known.filter((key) => key.state === 'retired').map((key) => hex(key.id))))
    // Whoever has the new key may go on: the server that began may never come back, and two at once do no harm.
    const here = new Set(keyring.keys.map((key) => keyId(key).toString('hex')))
    const retiring = known.filter(
      (key) => key.state === 'retiring' && here.has(hex(key.id)) && hex(key.id) !== keyring.currentId.toString('hex'),
    )
    if (retiring.length === 0) return
    await this.#resealAll(signal)
    for (const { id } of retiring) await this.#retire(id)
  }

  /** Ours to replace: with a fresh one. Rotated by another server that shares the file: with the one that it wrote there. */
  async #replaceCurrent(isOurs: boolean): Promise<void> {
    const { database, keyring, source, logger } = this.#dependencies
    if (source.kind !== 'file') {
      logger.warn('the key of this server was rotated by another: set the new one and restart', { key: keyring.currentId.toString('hex') })
      return
    }
    const written = await loadKeys(source.path)
    const isChanged = written?.[0] !== undefined && !keyId(written[0]).equals(keyring.currentId)
    if (isOurs && !isChanged) {
      const fresh = randomBytes(KEY_BYTES)
      await writeKeys(source.path, [fresh, ...keyring.keys])
      crashPoint('rotate-key.written')
      keyring.use([fresh, ...keyring.keys])
    } else if (written !== null) keyring.use(written)
    await registerSealingKey(database, keyring.currentId)
  }

  async #resealAll(signal: AbortSignal): Promise<void> {
    const { database, logger } = this.#dependencies
    for (const at of await listSealedColumns(database)) {
      for (let after: string | null = '(0,0)'; after !== null && !signal.aborted; ) {
        const next: { after: string | null; unreadable: number } = await this.#resealBatch(at, after)
        if (next.unreadable > 0) logger.error('values can not be opened with any key of this server', { ...at, count: next.unreadable })
        crashPoint('rotate-key.batch-committed')
        after = next.after
      }
    }
    signal.throwIfAborted()
  }

  /** One bounded transaction; `after` null = the end of the column. What can't be opened stays as it is and is counted. */
  #resealBatch(at: SealedColumn, after: string): Promise<{ after: string | null; unreadable: number }> {
    const { database, keyring } = this.#dependencies
    return database.transaction(async (tx) => {
      const values = await readSealedOtherwise(tx, at, { key: keyring.currentId, after, limit: LIMITS.resealBatch })
      let unreadable = 0
      for (const value of values) {
        const text = openOrNull(keyring, value.sealed)
        if (text === null) unreadable += 1
        else await replaceSealed(tx, at, value, keyring.seal(text))
      }
      return { after: values.length < LIMITS.resealBatch ? null : (values.at(-1)?.place ?? null), unreadable }
    })
  }

  async #retire(id: Uint8Array): Promise<void> {
    const { database, logger } = this.#dependencies
    const left = await database
      .transaction((tx) => retireSealingKey(tx, id))
      .catch((error: unknown) => {
        if (isTransient(error)) return null
        throw error
      })
    if (left !== 0) {
      logger.info('a key is not retired yet', { key: hex(id), left })
      return
    }
    crashPoint('rotate-key.retired-not-forgotten')
    await this.#forgetRetired(new Set([hex(id)]))
    logger.info('a key was retired: nothing is sealed with it any more', { key: hex(id) })
  }

  /** The running server still remembers a key that it has read values of. */
  async #forgetRetired(retired: ReadonlySet<string>): Promise<void> {
    const { keyring, source } = this.#dependencies
    const kept = keyring.keys.filter((key, index) => index === 0 || !retired.has(keyId(key).toString('hex')))
    if (kept.length === keyring.keys.length || source.kind !== 'file') return
    await writeKeys(source.path, kept)
    keyring.use(kept)
  }
}

function openOrNull(keyring: Keyring, sealed: Uint8Array): string | null {
  try {
    return keyring.open(sealed)
  } catch {
    return null
  }
}

function hex(id: Uint8Array): string {
  return Buffer.from(id).toString('hex')
}
