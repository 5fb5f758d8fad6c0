import pg from 'pg'

/** Connects to the private socket in the given directory and says `connected`, or why not. */
const client = new pg.Client({ host: process.argv[2] ?? '', user: 'shiplock', database: 'shiplock', password: '', ssl: false })
try {
  await client.connect()
  process.stdout.write('connected\n')
  await client.end()
} catch (error) {
  process.stdout.write(`${(error as { code?: string }).code} ${(error as Error).message}\n`)
}
