import { freePort, TestServer } from './server.ts'
import { type TcpPostgres, tcpPostgres } from './tcp-postgres.ts'

/** Two real servers with data directories of their own on one PostgreSQL that is neither's. The second joins the first one's node. */
export interface TwoServers {
  readonly postgres: TcpPostgres
  /** Its data directory is the node: instances, artifacts and the edge are there. */
  readonly home: TestServer
  readonly beside: TestServer
  end(): Promise<void>
}

export async function startTwoServers(env: Readonly<Record<string, string>> = {}): Promise<TwoServers> {
  const postgres = await tcpPostgres()
  const prepare = async () =>
    TestServer.prepare({ env: { DATABASE_URL: postgres.url, SHIPLOCK_API_LISTEN: `127.0.0.1:${await freePort()}`, ...env } })
  const [home, beside] = [await prepare(), await prepare()]
  const end = async () => {
    await beside.dispose()
    await home.dispose()
    await postgres.remove()
  }
  try {
    await home.start()
    await beside.start()
  } catch (error) {
    await end()
    throw error
  }
  return { postgres, home, beside, end }
}
