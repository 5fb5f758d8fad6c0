import { chmodSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { CRASH_POINTS } from '../../src/core/crash-points.ts'
import { parseKeys, writeKeys } from '../../src/core/key-file.ts'
import { silentLogger } from '../../src/core/log.ts'
import { Keyring } from '../../src/core/seal.ts'
import type { Database } from '../../src/store/database.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import { listSealedColumns } from '../../src/store/sql/sealing-keys.ts'
import { eventually } from '../support/eventually.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { type TcpPostgres, tcpPostgres } from '../support/tcp-postgres.ts'

/** A rotation that is killed at each of its points: at every moment the key file opens everything, and the next start ends it. */
const VARIABLES = 350
let postgres: TcpPostgres
let server: TestServer
let database: Database
const values = new Map<string, string>()

beforeAll(async () => {
  postgres = await tcpPostgres()
  server = await startTestServer({ env: { DATABASE_URL: postgres.url } })
  database = openDatabase({ connection: { url: postgres.url }, poolMax: 2, logger: silentLogger })
  for (let at = 0; at < VARIABLES; at += 50) {
    const batch = Array.from({ length: 50 }, (_, index) => [`NAME_${at + index}`, `value number ${at + index}`] as const)
    await set(Object.fromEntries(batch))
  }
  await server.call('POST', '/v1/services/web/deploy-key')
  await server.call('PUT', '/v1/git-tokens/git.example.org', { token: 'a-token-for-the-host' })
})
afterAll(async () => {
  await database?.close()
  await disposeServers()
  await postgres?.remove()
})

async function set(variables: Readonly<Record<string, string>>): Promise<void> {
  await server.call('PUT', '/v1/variables', { variables, secret: true })
  for (const [name, value] of Object.entries(variables)) values.set(name, value)
}

function keysOnDisk(): Buffer[] {
  return parseKeys(readFileSync(join(server.dataDirectory, 'secret-key'), 'utf8')) ?? []
}

/** Opens everything with what the key file holds at this moment; answers how many values another key than the first one sealed. */
async function openAll(): Promise<number> {
  const ring = new Keyring(keysOnDisk())
  const variables = await database.query<{ name: string; sealed: Buffer }>('select name, sealed_value as sealed from variables')
  expect(new Map(variables.map(({ name, sealed }) => [name, ring.open(sealed)]))).toEqual(values)
  let others = 0
  for (const { table, column } of await listSealedColumns(database)) {
    for (const { sealed } of await database.query<{ sealed: Buffer }>(
      `select ${column} as sealed from ${table} where ${column} is not null`,
    )) {
      expect(ring.open(sealed)).not.toBe('')
      if (!sealed.subarray(1, 9).equals(ring.currentId)) others += 1
    }
  }
  return others
}

/** The rotation is over: one key, which everything is sealed with, and which is another than before. */
async function rotated(before: Buffer): Promise<void> {
  await eventually(
    async () => {
      const { keys } = await server.call('GET', '/v1/server/keys')
      expect(keys.filter((key: { state: string }) => key.state === 'retiring')).toEqual([])
      expect(keysOnDisk()).toHaveLength(1)
    },
    { withinMs: 30_000 },
  )
  expect(keysOnDisk()[0]?.equals(before)).toBe(false)
  expect(await openAll()).toBe(0)
  expect(statSync(join(server.dataDirectory, 'secret-key')).mode & 0o777).toBe(0o600)
}

const points = CRASH_POINTS.filter((point) => point.startsWith('rotate-key.'))

test.each([...points, 'rotate-key.batch-committed@3'])(
  'I5: a rotation that is killed at %s is ended by the next start, and nothing is lost',
  async (point) => {
    const [before = Buffer.alloc(0)] = keysOnDisk()
    await server.kill9()
    await server.start({ SHIPLOCK_CRASH_AT: point })
    await server.api('POST', '/v1/server/keys/rotate').catch(() => {})
    await server.untilExit()
    expect(server.endedBy).toBe('SIGKILL')
    await openAll()
    await server.start()
    await rotated(before)
  },
)

test('the server goes on setting and reading while it rotates, and what it sets is sealed with the new key', async () => {
  const [before = Buffer.alloc(0)] = keysOnDisk()
  await server.call('POST', '/v1/server/keys/rotate')
  for (let round = 0; round < 20; round++) {
    await set({ [`NAME_${round}`]: `set anew in round ${round}`, [`ADDED_${round}`]: 'in the middle' })
    const { items } = await server.call('GET', '/v1/variables')
    expect(items.every((one: { fingerprint: string | null }) => one.fingerprint !== null)).toBe(true)
  }
  await rotated(before)
})

test('a second rotation is refused while one goes on, here or at another server', async () => {
  await database.query(`insert into servers (id, name, boot_id) values ('srv_other', 'other', 'boot') on conflict do nothing`)
  await database.query(`insert into sealing_keys (id, state, server_id) values ('\\x0102030405060708', 'retiring', 'srv_other')`)
  expect((await server.api('POST', '/v1/server/keys/rotate')).status).toBe(409)
  await database.query(`delete from sealing_keys where server_id = 'srv_other'`)
})

test('I6: a writer that still has a retired key is refused by the database', async () => {
  const [old = Buffer.alloc(0)] = keysOnDisk()
  await server.call('POST', '/v1/server/keys/rotate')
  await rotated(old)
  const sealed = new Keyring([old]).seal('a straggler')
  await expect(database.query('update variables set sealed_value = $1', [sealed])).rejects.toThrow(/retired/)
  expect(await openAll()).toBe(0)
})

test('a start with another key than the database’s is refused, and so is a key file that others may read', async () => {
  const path = join(server.dataDirectory, 'secret-key')
  await server.stop('server')
  chmodSync(path, 0o644)
  await expect(server.start()).rejects.toMatchObject({ code: 'SECRET_KEY_REFUSED', message: expect.stringContaining('0644') })
  chmodSync(path, 0o600)
  await expect(server.start({ SHIPLOCK_SECRET_KEY: 'ab'.repeat(32) })).rejects.toMatchObject({
    code: 'SECRET_KEY_REFUSED',
    message: expect.stringContaining('not the one'),
  })
  await server.start()
  expect(await openAll()).toBe(0)
})

test('another server that shares the key goes on with what a killed one began, and reads what either has sealed', async () => {
  const [before = Buffer.alloc(0)] = keysOnDisk()
  await server.kill9()
  await server.start({ SHIPLOCK_CRASH_AT: 'rotate-key.batch-committed' })
  const other = await startTestServer({ env: { DATABASE_URL: postgres.url } })
  await server.api('POST', '/v1/server/keys/rotate').catch(() => {})
  await server.untilExit()
  for (let round = 0; round < 5; round++) {
    const { items } = await other.call('GET', '/v1/variables')
    expect(items.every((one: { fingerprint: string | null }) => one.fingerprint !== null)).toBe(true)
    await other.call('PUT', '/v1/variables', { variables: { [`OTHER_${round}`]: 'set by another server' }, secret: true })
    values.set(`OTHER_${round}`, 'set by another server')
  }
  await eventually(() => expect(keysOnDisk()).toHaveLength(1), { withinMs: 30_000 })
  expect(keysOnDisk()[0]?.equals(before)).toBe(false)
  expect(await openAll()).toBe(0)
  await other.stop('server')
  await server.start()
})

test('with a second key in the file the first one is what everything is sealed with: no other is drawn', async () => {
  const [before = Buffer.alloc(0)] = keysOnDisk()
  const chosen = Buffer.from('ef'.repeat(32), 'hex')
  await server.stop('server')
  await writeKeys(join(server.dataDirectory, 'secret-key'), [chosen, before])
  await server.start()
  await server.call('POST', '/v1/server/keys/rotate')
  await rotated(before)
  expect(keysOnDisk()).toEqual([chosen])
})

test('a key that is a setting is rotated by its owner: new,old and a restart', async () => {
  const [before = Buffer.alloc(0)] = keysOnDisk()
  await server.stop('server')
  await server.start({ SHIPLOCK_SECRET_KEY: before.toString('hex') })
  expect((await server.api('POST', '/v1/server/keys/rotate')).status).toBe(409)
  await server.stop('server')
  const young = 'cd'.repeat(32)
  await server.start({ SHIPLOCK_SECRET_KEY: `${young},${before.toString('hex')}` })
  await server.call('POST', '/v1/server/keys/rotate')
  await eventually(
    async () => {
      const { keys, remaining } = await server.call('GET', '/v1/server/keys')
      expect([keys.filter((key: { state: string }) => key.state === 'retiring'), remaining]).toEqual([[], 0])
    },
    { withinMs: 30_000 },
  )
  await server.stop('server')
  await server.start({ SHIPLOCK_SECRET_KEY: young })
  const ring = new Keyring([Buffer.from(young, 'hex')])
  const [row] = await database.query<{ sealed: Buffer }>(`select sealed_value as sealed from variables where name = 'NAME_300'`)
  expect(ring.open(row?.sealed ?? Buffer.alloc(0))).toBe('value number 300')
})
