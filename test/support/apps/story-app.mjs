// What the stories deploy: an HTTP app without dependencies that answers every kind of client and misbehaves as `behaviour.json` beside it
// says. Tells the collector of the test (COLLECTOR) when it starts and whenever it is asked something at a time when it must not be (I2).
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'

const behaviour = {
  version: 'v0',
  readyAfterMs: 0,
  neverReady: false,
  exitAtStart: null,
  crashAfterMs: null,
  errorsAfterMs: null,
  keepAliveMs: 5000,
  ignoreTerm: false,
  listen: true,
  otherPort: null,
  ...JSON.parse(readFileSync(new URL('behaviour.json', import.meta.url), 'utf8')),
}
const { version } = behaviour
const startedAt = Date.now()
let wasReady = false
let isTerminating = false
let isFaulty = false

function tell(kind, then = () => {}) {
  if (process.env.COLLECTOR === undefined) return then()
  const about = { kind, version, instance: process.env.SHIPLOCK_INSTANCE, deployment: process.env.SHIPLOCK_DEPLOYMENT, pid: process.pid }
  const message = httpRequest(process.env.COLLECTOR, { method: 'POST' })
  message.on('error', then)
  message.on('response', (answer) => answer.resume().on('end', then))
  message.end(JSON.stringify(about))
}

const isReady = () => !behaviour.neverReady && Date.now() - startedAt >= behaviour.readyAfterMs

const server = createServer((request, response) => {
  const url = new URL(request.url ?? '/', 'http://app')
  response.setHeader('x-version', version)
  response.setHeader('x-instance', process.env.SHIPLOCK_INSTANCE ?? '')
  if (url.pathname === '/ready') {
    if (!isReady()) return answer(response, 503, `warming up since ${Date.now() - startedAt} ms`)
    wasReady = true
    return answer(response, 200, 'ready')
  }
  if (!wasReady) tell('asked-before-ready')
  if (isTerminating) tell('asked-after-term')
  if (isFaulty) return answer(response, 500, 'faulty')
  if (url.pathname === '/events') return events(response)
  if (url.pathname === '/crash') return process.exit(13)
  if (url.pathname === '/env') return answer(response, 200, JSON.stringify(process.env))
  if (url.pathname === '/slow') return void setTimeout(() => answer(response, 200, version), Number(url.searchParams.get('ms')))
  if (request.method !== 'POST') return answer(response, 200, version)
  const chunks = []
  request.on('data', (chunk) => chunks.push(chunk))
  request.on('end', () => answer(response, 200, Buffer.concat(chunks)))
})
server.keepAliveTimeout = behaviour.keepAliveMs

function answer(response, status, body) {
  response.writeHead(status, { 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

/** Numbered from 0, so that a reader sees whether one is missing. */
function events(response) {
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  let count = 0
  const send = () => response.write(`id: ${count}\ndata: ${version} ${count++}\n\n`)
  send()
  const timer = setInterval(send, 25)
  response.on('close', () => clearInterval(timer))
}

// ── websockets, as far as short text frames go: each message comes back with the version before it
server.on('upgrade', (request, socket) => {
  if (!wasReady) tell('asked-before-ready')
  if (isTerminating) tell('asked-after-term')
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: ${accept}\r\n\r\n`)
  let received = Buffer.alloc(0)
  socket.on('error', () => {})
  socket.on('data', (chunk) => {
    received = Buffer.concat([received, chunk])
    for (let frame = read(received); frame !== null; frame = read(received)) {
      received = received.subarray(frame.length)
      if (frame.opcode === 8) return socket.end(Buffer.from([0x88, 0]))
      if (frame.opcode !== 1) continue
      const text = Buffer.from(`${version} ${frame.text}`)
      socket.write(Buffer.concat([Buffer.from([0x81, text.length]), text]))
    }
  })
})

/** The first whole frame of a client; null when there is none yet. */
function read(bytes) {
  const size = (bytes[1] ?? 0) & 127
  if (bytes.length < 6 + size) return null
  const mask = bytes.subarray(2, 6)
  const text = Buffer.from(bytes.subarray(6, 6 + size).map((byte, at) => byte ^ mask[at % 4])).toString()
  return { opcode: bytes[0] & 15, length: 6 + size, text }
}

process.on('SIGTERM', () => {
  console.log('asked to stop')
  if (behaviour.ignoreTerm) return
  isTerminating = true
  const told = new Promise((resolve) => tell('stopped', resolve))
  server.close(() => told.then(() => process.exit(0)))
  server.closeIdleConnections()
})

console.log(`${version} starts`)
tell('started')
if (behaviour.exitAtStart !== null) {
  console.error(`Error: ${version} can't start: no such table: users`)
  process.exit(behaviour.exitAtStart)
}
if (behaviour.listen) {
  server.listen(behaviour.otherPort ?? Number(process.env.PORT), process.env.LISTEN ?? '127.0.0.1', () =>
    console.log(`${version} listens on ${server.address().port}`),
  )
} else {
  setInterval(() => {}, 60_000)
}
if (behaviour.crashAfterMs !== null) {
  setTimeout(() => {
    console.error(`${version} panics`)
    process.exit(13)
  }, behaviour.crashAfterMs)
}
if (behaviour.errorsAfterMs !== null) {
  setTimeout(() => {
    isFaulty = true
  }, behaviour.errorsAfterMs)
}
