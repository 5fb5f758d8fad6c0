import { readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const port = Number(process.env.PORT ?? 3000)
const release = process.env.SHIPLOCK_RELEASE ?? 'dev'
const built = JSON.parse(readFileSync(new URL('built.json', import.meta.url), 'utf8'))

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://app')
  if (pathname === '/healthz') return response.writeHead(200).end('ok\n')
  if (pathname !== '/') return response.writeHead(404).end('not found\n')
  response
    .writeHead(200, { 'content-type': 'text/plain; charset=utf-8' })
    .end(`Hello from a container\nrelease ${release}, node ${built.node}, user ${process.getuid?.()}\n`)
})

server.listen(port, () => console.log(`release ${release} listens on port ${port}`))

process.on('SIGTERM', () => {
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
