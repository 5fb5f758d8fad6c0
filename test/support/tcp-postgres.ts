import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { findPackage, usableBinaries } from '../../src/store/embedded/binaries.ts'
import { findPlacement } from '../../src/store/embedded/placement.ts'
import { spawnPostmaster, stopPostmaster } from '../../src/store/embedded/postmaster.ts'
import { withRetry } from '../../src/store/retry.ts'
import { administer, privatePostgres } from './database.ts'

export interface TcpPostgres {
  /** With a password that needs percent-encoding. */
  readonly url: string
  readonly port: number
  readonly password: string
  start(): Promise<void>
  stop(): Promise<void>
  remove(): Promise<void>
}

const PASSWORD = 'p@ss/wörd:1'

/** The embedded programs as somebody else's server: TCP on loopback, password required, no socket of ours. Runs when this resolves. */
export async function tcpPostgres(): Promise<TcpPostgres> {
  const files = await privatePostgres()
  const embedded = await files.start()
  await administer(embedded.connection, `ALTER USER shiplock PASSWORD '${PASSWORD}'`)
  await files.stop()
  const placement = await findPlacement(files.dataDirectory, files.sharedBase)
  const binaries = await usableBinaries(placement.account, files.sharedBase, findPackage())
  const rules = join(files.dataDirectory, 'pg_hba.conf')
  await writeFile(rules, 'host all all 127.0.0.1/32 scram-sha-256\n', { mode: 0o644 })
  const port = await freePort()
  const url = `postgres://shiplock:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/shiplock?sslmode=disable`
  const settings = ['listen_addresses=127.0.0.1', `port=${port}`, 'unix_socket_directories=', `hba_file=${rules}`]
  let pid: number | null = null
  const start = async () => {
    pid = (await spawnPostmaster(placement, binaries, settings)).pid
    await withRetry(() => administer({ url }, 'SELECT 1'))
  }
  const stop = async () => {
    if (pid !== null) await stopPostmaster(placement, pid)
    pid = null
  }
  await start()
  return {
    url,
    port,
    password: PASSWORD,
    start,
    stop,
    remove: async () => {
      await stop()
      await files.remove()
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  return typeof address === 'object' && address !== null ? address.port : 0
}
