import { createLogger, silentLogger } from '../../../src/core/log.ts'
import { startEmbedded } from '../../../src/store/embedded.ts'
import { openDatabase } from '../../../src/store/postgres.ts'

/**
 * A server reduced to its database: starts or adopts it, then writes numbered rows one by one and says `ack N` after each commit.
 * Arguments as one JSON object. Prints `{"error": {code, message, hint}}` and ends when the database can't be had.
 */
interface Order {
  readonly dataDirectory: string
  readonly sharedBase: string
  readonly installed: { readonly directory: string; readonly version: string }
  /** First number to write. */
  readonly from: number
  /** Stop after so many; 0: never. */
  readonly count: number
  readonly verbose?: boolean
}

const order = JSON.parse(process.argv[2] ?? '{}') as Order
const logger = order.verbose === true ? createLogger('debug') : silentLogger
const say = (line: unknown) => process.stdout.write(`${typeof line === 'string' ? line : JSON.stringify(line)}\n`)

try {
  const embedded = await startEmbedded({ ...order, logger })
  const database = openDatabase({ connection: embedded.connection, poolMax: 2, logger })
  await database.query('CREATE TABLE IF NOT EXISTS acknowledged (n int PRIMARY KEY)')
  say({ ready: { adopted: embedded.adopted, pid: embedded.pid, connection: embedded.connection, uid: process.getuid?.() } })
  for (let n = order.from; order.count === 0 || n < order.from + order.count; n++) {
    await database.query('INSERT INTO acknowledged VALUES ($1)', [n])
    say(`ack ${n}`)
  }
  await database.close()
} catch (error) {
  const { code, message, hint } = error as { code?: string; message: string; hint?: string }
  say({ error: { code, message, hint } })
  process.exitCode = 1
}
