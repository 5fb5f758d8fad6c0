import { parseSiteOptions } from './site-options.ts'
import { createStaticServer } from './static-server.ts'

/** `main.js <directory> [options as JSON]`: serves it on the port in PORT until SIGTERM, then finishes what is under way. */
const directory = process.argv[2]
const port = Number(process.env.PORT)
if (directory === undefined || !Number.isInteger(port) || port < 1 || port > 65_535) {
  console.error('usage: PORT=<port> main.js <directory> [options]')
  process.exit(2)
}

const server = createStaticServer(directory, parseSiteOptions(process.argv[3]), (line) => console.log(line))
server.listen(port, '127.0.0.1', () => console.log(`serving ${directory} on 127.0.0.1:${port}`))
process.once('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
