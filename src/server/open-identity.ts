import { randomUUID } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { ensureAdminToken } from '../api/admin-token.ts'
import type { Settings } from '../config/settings.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { systemClock } from '../core/clock.ts'
import { type KeySource, loadOrCreateKeys, parseKeys, readKeysAgain } from '../core/key-file.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { randomId } from '../core/random-id.ts'
import { Keyring } from '../core/seal.ts'
import { ID_PREFIXES, type ServerId } from '../domain/ids.ts'
import { KeyRotation } from '../engine/key-rotation.ts'
import { Periodic } from '../engine/periodic.ts'
import type { Database } from '../store/database.ts'
import { type EmbeddedDatabase, startEmbedded } from '../store/embedded.ts'
import { migrate } from '../store/migrate.ts'
import { openDatabase } from '../store/postgres.ts'
import type { Owner } from '../store/sql/leases.ts'
import { registerServer } from '../store/sql/servers.ts'
import { joinNode } from './node.ts'
import type { Stops } from './stop-order.ts'

const DATABASE_KEEPER_PERIOD_MS = 1000

export type Identity = Awaited<ReturnType<typeof openIdentity>>

/** Who this server is: its database, its row and node there, its keys and its first token. */
export async function openIdentity(settings: Settings, logger: Logger, stops: Stops) {
  const data = settings.dataDirectory
  const { database, embedded } = await openStore(settings, logger, stops)
  const owner: Owner = { serverId: await serverIdOf(data), bootId: randomUUID() }
  const { node, prepared: source } = await joinNode(database, settings, (directory) => keySource({ ...settings, dataDirectory: directory }))
  await registerServer(database, owner, hostname(), node.id)
  const { path: tokenPath } = await ensureAdminToken(database, data)
  const keyring = new Keyring(source.kind === 'file' ? await loadOrCreateKeys(source.path) : (parseKeys(source.text) ?? []), () =>
    source.kind === 'file' ? readKeysAgain(source.path) : null,
  )
  const rotation = new KeyRotation({ database, owner, clock: systemClock, logger, keyring, source })
  await rotation.adopt()
  return { database, embedded, owner, node, tokenPath, keyring, rotation }
}

async function openStore(
  settings: Settings,
  logger: Logger,
  stops: Stops,
): Promise<{ database: Database; embedded: EmbeddedDatabase | null }> {
  const embedded = settings.databaseUrl === null ? await startEmbedded({ dataDirectory: settings.dataDirectory, logger }) : null
  const connection = embedded === null ? { url: settings.databaseUrl ?? '' } : embedded.connection
  // A start that fails, here or later, leaves nothing behind that it brought up itself.
  stops.set('embedded database', async () => (embedded?.adopted === false ? embedded.stop() : undefined))
  const database = openDatabase({ connection, poolMax: LIMITS.databaseConnections, logger })
  stops.set('database connections', () => database.close())
  await migrate(database)
  return { database, embedded }
}

/** An embedded PostgreSQL that was killed is started again; the pool finds it at the same socket. */
export async function keepDatabase(settings: Settings, logger: Logger, database: Database): Promise<() => Promise<void>> {
  const keeper = new Periodic('database keeper', DATABASE_KEEPER_PERIOD_MS, { clock: systemClock, logger }, async () => {
    try {
      await database.query('select 1')
    } catch {
      await startEmbedded({ dataDirectory: settings.dataDirectory, logger })
    }
  })
  await keeper.start()
  return () => keeper.stop()
}

/** A key file is made here, so that servers that start at once find the same. */
async function keySource({ secretKey, secretKeyFile, dataDirectory }: Settings): Promise<KeySource> {
  if (secretKey !== null) return { kind: 'setting', text: secretKey }
  const path = secretKeyFile ?? join(dataDirectory, 'secret-key')
  await loadOrCreateKeys(path)
  return { kind: 'file', path }
}

/** Drawn once per data directory. */
async function serverIdOf(data: string): Promise<ServerId> {
  const path = join(data, 'server-id')
  const present = (await readFile(path, 'utf8').catch(() => '')).trim()
  if (/^srv_[0-9a-z]+$/.test(present)) return present as ServerId
  const id = randomId<ServerId>(ID_PREFIXES.ServerId)
  await writeFileAtomic(path, `${id}\n`)
  return id
}
