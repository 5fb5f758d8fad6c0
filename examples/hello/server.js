import { createServer } from 'node:http'

const port = Number(process.env.PORT ?? 3000)
const release = process.env.SHIPLOCK_RELEASE ?? 'dev'
const instance = process.env.SHIPLOCK_INSTANCE ?? 'local'
const greeting = process.env.GREETING ?? 'Hello from Shiplock'

const server = createServer((request, response) => {
  const { pathname } = new URL(request.url ?? '/', 'http://hello')
  if (pathname === '/healthz') {
    response.writeHead(200, { 'content-type': 'text/plain' }).end('ok\n')
  } else if (pathname === '/') {
    console.log(`${request.method} ${pathname}`)
    response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end(`${greeting}\nrelease ${release}, instance ${instance}\n`)
  } else {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n')
  }
})

server.listen(port, () => console.log(`release ${release} listens on port ${port}`))

// Requests that have begun are answered; then the process ends by itself.
process.on('SIGTERM', () => {
  console.log('SIGTERM: finishing what has begun')
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
