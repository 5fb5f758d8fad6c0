// A small application in one of several versions, as edge tests deploy it: `node edge-app.mjs '{"version":"v1"}'`. Prints its port.
import { createServer } from 'node:http'
import { WebSocketServer } from 'ws'

const { version, keepAliveMs = 5000, ignoreTerm = false, port = 0 } = JSON.parse(process.argv[2] ?? '{}')

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://app')
  response.setHeader('x-version', version)
  if (url.pathname === '/events') return events(response)
  if (url.pathname === '/slow') return void setTimeout(() => answer(response, version), Number(url.searchParams.get('ms')))
  if (url.pathname === '/drip') return drip(response)
  if (url.pathname === '/die') process.exit(1)
  if (url.pathname === '/status') response.statusCode = Number(url.searchParams.get('code'))
  if (request.method !== 'POST') return answer(response, version)
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => answer(response, Buffer.concat(chunks)))
})
server.keepAliveTimeout = keepAliveMs

function answer(response, body) {
  response.setHeader('content-length', Buffer.byteLength(body))
  response.end(body)
}

function events(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let count = 0
  const send = () => response.write(`id: ${count}\ndata: ${version} ${count++}\n\n`)
  send()
  const timer = setInterval(send, 20)
  response.on('close', () => clearInterval(timer))
}

/** Ten bytes, one every 20 ms, chunked. */
function drip(response) {
  let left = 10
  const timer = setInterval(() => {
    left -= 1
    response.write(version[0])
    if (left > 0) return
    clearInterval(timer)
    response.end()
  }, 20)
}

const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket) => {
  socket.on('error', () => {})
  socket.on('message', (data, isBinary) => socket.send(isBinary ? data : `${version} ${data}`))
})

process.on('SIGTERM', () => {
  if (ignoreTerm) return
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
server.listen(port, '127.0.0.1', () => process.stdout.write(`${server.address().port}\n`))
