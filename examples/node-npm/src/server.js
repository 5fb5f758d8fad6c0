import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import colors from 'picocolors'

const { builtAt } = JSON.parse(await readFile(new URL('./built-at.json', import.meta.url), 'utf8'))
const port = Number(process.env.PORT ?? 3000)

const server = createServer((request, response) => {
  console.log(`${colors.green(request.method ?? '')} ${request.url}`)
  response
    .writeHead(200, { 'content-type': 'application/json' })
    .end(`${JSON.stringify({ builtAt, release: process.env.SHIPLOCK_RELEASE ?? null })}\n`)
})

server.listen(port, () => console.log(`listens on port ${port}`))
process.on('SIGTERM', () => server.close(() => process.exit(0)))
