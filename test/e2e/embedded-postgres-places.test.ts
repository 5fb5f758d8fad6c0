import { chmod, chown, cp, link, lstat, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runCommand } from '../../src/core/exec.ts'
import { silentLogger } from '../../src/core/log.ts'
import { findPackage, type InstalledPackage } from '../../src/store/embedded/binaries.ts'
import { diagnoseEmbedded } from '../../src/store/embedded/diagnose.ts'
import { listProcesses } from '../../src/store/embedded/process-table.ts'
import { firstBarrier } from '../../src/store/embedded/reach.ts'
import { startEmbedded, stopEmbedded } from '../../src/store/embedded.ts'
import { bundle } from '../support/bundle.ts'
import { administer } from '../support/database.ts'
import { startWriter } from '../support/database-writer.ts'

const isRoot = process.getuid?.() === 0
const NOBODY = { uid: 65534, gid: 65534, name: 'nobody', isSelf: false } as const
/** A number that no /etc/passwd gives a name to, as with `docker run --user`. */
const NAMELESS = { uid: 54_321, gid: 54_321 }
const canOthersRunNode = (await firstBarrier(dirname(process.execPath), NOBODY)) === null

let root: string
let dataDirectory: string
let sharedBase: string

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'shiplock-pl-'))
  await chmod(root, 0o755)
  dataDirectory = await directory('data', 0o711)
  sharedBase = join(root, 'shared')
})
afterEach(async () => {
  await stopEmbedded({ dataDirectory, sharedBase })
  await rm(root, { recursive: true, force: true })
})

async function directory(name: string, mode: number): Promise<string> {
  const path = join(root, name)
  await mkdir(path, { recursive: true })
  await chmod(path, mode)
  return path
}

const start = (installed?: InstalledPackage) =>
  startEmbedded({ dataDirectory, sharedBase, logger: silentLogger, ...(installed === undefined ? {} : { installed }) })
const answers = async (connection: Awaited<ReturnType<typeof start>>['connection']) =>
  expect(await administer(connection, 'SELECT 1 AS one')).toEqual([{ one: 1 }])
const ownerOf = async (pid: number) => (await listProcesses()).find((entry) => entry.pid === pid)?.uid

/** The installed package once more, as npm leaves it when it may not run the postinstall script: without the library links. */
async function packageWithoutLinks(into: string): Promise<InstalledPackage> {
  const { directory: from, version } = findPackage()
  const copyTree = async (source: string, target: string): Promise<void> => {
    await mkdir(target, { recursive: true })
    for (const entry of await readdir(source, { withFileTypes: true })) {
      const [file, copy] = [join(source, entry.name), join(target, entry.name)]
      if (entry.isDirectory()) await copyTree(file, copy)
      else if (entry.isFile()) await link(file, copy).catch(() => cp(file, copy))
    }
  }
  await copyTree(from, into)
  return { directory: into, version }
}

describe.runIf(isRoot)('as root', () => {
  test('PostgreSQL runs as nobody, with its files in the data directory when nobody can get there', async () => {
    const { connection, pid } = await start()
    await answers(connection)
    expect(await ownerOf(pid)).toBe(NOBODY.uid)
    expect(connection.socketDirectory).toBe(join(dataDirectory, 'postgres/run'))
  })

  test('I5: a place that a kill left made but not given away is given away by the next start', async () => {
    await mkdir(join(dataDirectory, 'postgres'), { mode: 0o711 })
    await mkdir(join(dataDirectory, 'postgres/run'), { mode: 0o700 })
    await answers((await start()).connection)
    expect((await stat(join(dataDirectory, 'postgres/run'))).uid).toBe(NOBODY.uid)
  })

  test('what root writes is in no directory where nobody could put links in its way', async () => {
    await start()
    const place = join(dataDirectory, 'postgres')
    const entries = await Promise.all(['.', 'data', 'run', 'postgresql.conf', 'pg_hba.conf'].map((name) => lstat(join(place, name))))
    expect(entries.map(({ uid, mode }) => `${uid} ${(mode & 0o777).toString(8)}`)).toEqual([
      '0 711',
      '65534 700',
      '65534 700',
      '0 644',
      '0 644',
    ])
  })

  test('other programs that run as nobody are refused by the database', async ({ skip }) => {
    skip(!canOthersRunNode, 'node is in a directory that nobody can not enter')
    const { connection } = await start()
    const script = await bundle('programs/connect.ts', join(root, 'program'))
    const attempt = (ids: object) => runCommand(process.execPath, [script, connection.socketDirectory], { env: {}, cwd: '/', ...ids })
    expect((await attempt({})).stdout).toBe('connected\n')
    expect((await attempt({ uid: NOBODY.uid, gid: NOBODY.gid })).stdout).toMatch(/^28000/)
  })

  test('a data directory below a 0700 directory (a clone in /root) has its database elsewhere, found again by a pointer', async () => {
    await chmod(await directory('home', 0o700), 0o700)
    dataDirectory = await directory('home/clone', 0o755)
    const first = await start()
    await answers(first.connection)
    await administer(first.connection, 'CREATE TABLE kept AS SELECT 42 AS answer')
    expect(first.connection.socketDirectory.startsWith(`${sharedBase}/`)).toBe(true)
    expect(JSON.parse(await readFile(join(dataDirectory, 'postgres.location.json'), 'utf8'))).toMatchObject({ barrier: join(root, 'home') })
    const findings = await diagnoseEmbedded(dataDirectory, { sharedBase })
    expect(findings.find(({ title }) => title === 'database directory')?.detail).toContain(`can't pass through ${join(root, 'home')}`)
    await first.stop()
    const second = await start()
    expect(second.connection).toEqual(first.connection)
    expect(await administer(second.connection, 'SELECT answer FROM kept')).toEqual([{ answer: 42 }])
    expect((await readdir(sharedBase)).filter((name) => !name.startsWith('postgresql-'))).toHaveLength(1)
  })

  test('a data directory that was deleted and made anew gets a new database', async () => {
    dataDirectory = await directory('closed', 0o700)
    const first = await start()
    await administer(first.connection, 'CREATE TABLE old (n int)')
    await first.stop()
    await rm(dataDirectory, { recursive: true })
    dataDirectory = await directory('closed', 0o700)
    const second = await start()
    expect(await administer(second.connection, "SELECT to_regclass('old') AS old")).toEqual([{ old: null }])
  })

  test('programs below a 0700 directory are copied once, library links included', async () => {
    await directory('clone', 0o700)
    const installed = await packageWithoutLinks(join(root, 'clone/node_modules/native'))
    await answers((await start(installed)).connection)
    const copies = await readdir(sharedBase)
    expect(copies).toEqual([expect.stringMatching(/^postgresql-18\./)])
    const before = await stat(join(sharedBase, copies[0] ?? ''))
    await stopEmbedded({ dataDirectory, sharedBase })
    await answers((await start(installed)).connection)
    expect(await readdir(sharedBase)).toEqual(copies)
    expect((await stat(join(sharedBase, copies[0] ?? ''))).ino).toBe(before.ino)
  })

  test('a database that belongs to an ordinary user goes on being run as that user', async ({ skip }) => {
    skip(!canOthersRunNode, 'node is in a directory that others can not enter')
    await chown(dataDirectory, 33, 33)
    const program = await bundle('programs/database-writer.ts', join(root, 'program'))
    const writer = startWriter({ program, dataDirectory, sharedBase, installed: await reachablePackage(), count: 3, uid: 33, gid: 33 })
    expect((await writer.ready).uid).toBe(33)
    await writer.ended
    const adopted = await start()
    expect(adopted.adopted).toBe(true)
    expect(await administer(adopted.connection, 'SELECT count(*) AS n FROM acknowledged')).toEqual([{ n: 3 }])
    await adopted.stop()
    const { pid, connection } = await start()
    expect(await ownerOf(pid)).toBe(33)
    await answers(connection)
  })
})

describe('an ordinary user', () => {
  const users = isRoot
    ? [
        { ...NOBODY, name: 'nobody' },
        { ...NAMELESS, name: 'a user id without a name' },
      ]
    : [{ name: 'this user' }]
  for (const { name, ...user } of users) {
    test(`(${name}) runs it as themselves, in a home of their own`, async ({ skip }) => {
      skip(isRoot && !canOthersRunNode, 'node is in a directory that others can not enter')
      const ids = 'uid' in user && user.uid !== undefined && user.gid !== undefined ? { uid: user.uid, gid: user.gid } : {}
      const home = await directory('home', 0o700)
      const data = await directory('home/data', 0o700)
      if (ids.uid !== undefined) for (const path of [home, data]) await chown(path, ids.uid, ids.gid)
      const program = await bundle('programs/database-writer.ts', join(root, 'program'))
      dataDirectory = data
      const order = { program, dataDirectory, sharedBase, installed: await reachablePackage(), env: { HOME: home }, ...ids }
      const first = startWriter({ ...order, from: 1, count: 5 })
      const ready = await first.ready
      await first.ended
      expect(ready.adopted).toBe(false)
      expect(await ownerOf(ready.pid)).toBe(ids.uid ?? process.getuid?.())
      expect(first.acknowledged).toEqual([1, 2, 3, 4, 5])
      const second = startWriter({ ...order, from: 6, count: 1 })
      expect(await second.ready).toMatchObject({ adopted: true, pid: ready.pid })
      await second.ended
    })
  }

  test.runIf(isRoot)('is told who owns a database that root made', async ({ skip }) => {
    skip(!canOthersRunNode, 'node is in a directory that others can not enter')
    await start()
    const program = await bundle('programs/database-writer.ts', join(root, 'program'))
    const writer = startWriter({ program, dataDirectory, sharedBase, installed: findPackage(), ...NAMELESS })
    await expect(writer.ready).rejects.toMatchObject({
      code: 'DATABASE_UNAVAILABLE',
      message: expect.stringMatching(/belongs to user id 65534, Shiplock runs as 54321/),
    })
    await writer.ended
  })

  test.runIf(isRoot)('whose node_modules is read-only and without library links gets a copy in the data directory', async ({ skip }) => {
    skip(!canOthersRunNode, 'node is in a directory that others can not enter')
    const installed = await packageWithoutLinks(join(root, 'native'))
    await chown(dataDirectory, NAMELESS.uid, NAMELESS.gid)
    const program = await bundle('programs/database-writer.ts', join(root, 'program'))
    const writer = startWriter({ program, dataDirectory, sharedBase, installed, count: 1, ...NAMELESS })
    await writer.ready
    await writer.ended
    expect(writer.acknowledged).toEqual([1])
    expect(await readdir(join(dataDirectory, 'postgres-programs'))).toHaveLength(1)
  })
})

test('a full disk is named, and the database is made once there is space', async ({ skip }) => {
  const volume = await directory('volume', 0o711)
  const mount = (...args: string[]) => runCommand('mount', args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })
  const mounted = await mount('-t', 'tmpfs', '-o', 'size=20m,mode=711', 'tmpfs', volume).catch(() => null)
  skip(mounted?.exitCode !== 0, 'small volumes can not be mounted here')
  try {
    dataDirectory = await directory('volume/data', 0o711)
    const error = await start().catch((reason: unknown) => reason)
    expect(error).toMatchObject({ code: 'DATABASE_UNAVAILABLE', message: expect.stringContaining('the disk is full') })
    expect(error).toMatchObject({ message: expect.stringContaining(dataDirectory), hint: expect.stringContaining('Free space') })
    const findings = await diagnoseEmbedded(dataDirectory, { sharedBase })
    expect(findings.find(({ title }) => title === 'disk space')).toMatchObject({ ok: false })
    await mount('-o', 'remount,size=200m', volume)
    const { connection, stop } = await start()
    await answers(connection)
    await stop()
  } finally {
    await runCommand('umount', ['-l', volume], { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin' } })
    dataDirectory = await directory('data', 0o711)
  }
})

test('missing library links are made in place where that is allowed', async () => {
  const installed = await packageWithoutLinks(join(root, 'native'))
  await expect(stat(join(root, 'native/lib/libpq.so.5'))).rejects.toMatchObject({ code: 'ENOENT' })
  await answers((await start(installed)).connection)
  expect((await stat(join(root, 'native/lib/libpq.so.5'))).isFile()).toBe(true)
  await expect(stat(sharedBase)).rejects.toMatchObject({ code: 'ENOENT' })
})

test('a path too long for a socket gets a short private directory, which is found again and goes with the server', async () => {
  dataDirectory = await directory(`long/${'x'.repeat(60)}/${'y'.repeat(60)}`, 0o711)
  const first = await start()
  const { socketDirectory } = first.connection
  await answers(first.connection)
  expect(Buffer.byteLength(`${socketDirectory}/.s.PGSQL.5432`)).toBeLessThanOrEqual(107)
  expect((await stat(socketDirectory)).mode & 0o777).toBe(0o700)
  expect(await start()).toMatchObject({ adopted: true, connection: first.connection })
  process.kill(first.pid, 'SIGKILL')
  const recovered = await start()
  expect(recovered).toMatchObject({ adopted: false, connection: first.connection })
  await recovered.stop()
  await expect(stat(socketDirectory)).rejects.toMatchObject({ code: 'ENOENT' })
})

/** The installed package, or a copy of it that others can get to when this clone is in a closed directory. */
async function reachablePackage(): Promise<InstalledPackage> {
  const installed = findPackage()
  if ((await firstBarrier(installed.directory, NOBODY)) === null) return installed
  return packageWithoutLinks(join(root, 'reachable'))
}
