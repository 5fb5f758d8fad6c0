import { connect } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import { administer, privatePostgres } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { type HalfOpenProxy, halfOpenProxy } from '../support/half-open-proxy.ts'
import { type TcpPostgres, tcpPostgres } from '../support/tcp-postgres.ts'
import { databaseSuite } from './database-suite.ts'

databaseSuite('the embedded server', async () => {
  const files = await privatePostgres()
  const { connection } = await files.start()
  return {
    connection,
    start: async () => void (await files.start()),
    stop: () => files.stop(),
    remove: () => files.remove(),
  }
})

databaseSuite('DATABASE_URL', async () => {
  const server = await tcpPostgres()
  return { connection: { url: server.url }, start: server.start, stop: server.stop, remove: server.remove }
})

describe('DATABASE_URL over a network that fails', () => {
  let server: TcpPostgres
  let proxy: HalfOpenProxy
  let url: string

  beforeAll(async () => {
    server = await tcpPostgres()
    proxy = await halfOpenProxy({ host: '127.0.0.1', port: server.port })
    url = server.url.replace(`:${server.port}/`, `:${proxy.port}/`)
    await administer({ url }, 'CREATE TABLE marks (id int PRIMARY KEY)')
  })
  afterAll(async () => {
    await proxy?.close()
    await server?.remove()
  })

  test('a commit whose reply was lost is of unknown outcome, and did happen', async () => {
    const database = openDatabase({ connection: { url }, poolMax: 2, logger: silentLogger })
    const work = database.transaction(async (tx) => {
      await tx.query('INSERT INTO marks VALUES (1)')
      proxy.freeze('replies')
    })
    const outcome = work.catch((error: unknown) => error)
    await eventually(async () => expect(await administer({ url: server.url }, 'SELECT id FROM marks')).toEqual([{ id: 1 }]))
    proxy.cut()
    proxy.thaw()
    expect(await outcome).toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
    await database.close()
  })

  test('a statement that nobody answers any more ends by itself', async () => {
    const database = openDatabase({ connection: { url }, poolMax: 2, logger: silentLogger, statementTimeoutMs: 100 })
    await database.query('SELECT 1')
    proxy.freeze()
    await expect(database.query('SELECT 1')).rejects.toMatchObject({ fault: 'connection-lost', isOutcomeUnknown: true })
    proxy.thaw()
    expect(await database.query('SELECT 2 AS two')).toEqual([{ two: 2 }])
    await database.close()
  })

  test('a listener whose server vanished without a word notices and comes back', async () => {
    const database = openDatabase({ connection: { url }, poolMax: 2, logger: silentLogger, heartbeatMs: 100 })
    const heard: (string | null)[] = []
    await database.listen('news', (payload) => heard.push(payload))
    proxy.freeze()
    await eventually(() => expect(proxy.connections).toBeGreaterThan(1))
    proxy.cut()
    proxy.thaw()
    await eventually(() => expect(heard).toEqual([null]), { withinMs: 20_000 })
    await database.query("SELECT pg_notify('news', 'hello')")
    await eventually(() => expect(heard).toEqual([null, 'hello']))
    await database.close()
  })
})

describe('a DATABASE_URL that is wrong', () => {
  test('is refused without repeating the password (I8)', () => {
    for (const url of ['mysql://u:hunter2@host/db', 'hunter2', 'postgres://u:hunter2@host:port/db', '']) {
      expect(() => openDatabase({ connection: { url }, poolMax: 1, logger: silentLogger })).toThrow(
        /^DATABASE_URL is not a postgres:\/\/ URL$/,
      )
    }
  })

  test('with a wrong password, database or port says which, and only what may mend itself is worth waiting for', async () => {
    const server = await tcpPostgres()
    const attempt = (url: string) => administer({ url }, 'SELECT 1').catch((error: unknown) => error)
    const wrongPassword = await attempt(server.url.replace(encodeURIComponent(server.password), 'hunter2'))
    expect(wrongPassword).toMatchObject({ code: 'DATABASE_UNAVAILABLE', fault: 'refused', sqlState: '28P01' })
    expect(await attempt(server.url.replace('/shiplock?', '/elsewhere?'))).toMatchObject({ fault: 'refused', sqlState: '3D000' })
    expect(await attempt(server.url.replace('sslmode=disable', 'sslmode=require'))).toMatchObject({ fault: 'refused' })
    await server.remove()
    const away = await attempt(server.url)
    expect(away).toMatchObject({ fault: 'unavailable' })
    expect(String(away)).not.toContain(server.password)
    await expect(
      new Promise((resolve, reject) => connect(server.port, '127.0.0.1', () => resolve(1)).on('error', reject)),
    ).rejects.toThrow()
  })
})
