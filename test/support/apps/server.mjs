// A small app that says what it sees and can be told to misbehave. Reads PORT; MODE picks what it does.
import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'

const mode = process.env.MODE ?? 'normal'
appendFileSync('starts.txt', `${process.env.SHIPLOCK_INSTANCE}\n`)

const server = createServer((request, response) => {
  const path = new URL(request.url, 'http://app').pathname
  if (path === '/env') return response.end(JSON.stringify(process.env))
  if (path === '/starts') return response.end(readFileSync('starts.txt', 'utf8'))
  if (path === '/see') return response.end(String(existsSync(new URL(request.url, 'http://app').searchParams.get('path'))))
  response.end(`hello from ${process.env.SHIPLOCK_INSTANCE} as ${process.getuid()}\n`)
})
const port = mode === 'other-port' ? 0 : Number(process.env.PORT)
// In a container only what listens on all interfaces can be reached; HOST says so there.
server.listen(port, process.env.HOST ?? '127.0.0.1', () => console.log(`listening on ${server.address().port}`))

process.on('SIGTERM', () => {
  console.log('asked to stop')
  if (mode === 'ignores-sigterm') return
  server.close(() => process.exit(0))
  server.closeIdleConnections()
})
if (mode === 'leaves-children') {
  // In sessions of their own; the second also threw away its environment, the third is an orphan besides.
  spawn('sleep', ['1000'], { stdio: 'ignore', detached: true }).unref()
  spawn('sleep', ['1001'], { stdio: 'ignore', detached: true, env: {} }).unref()
  if (process.env.ORPHAN) spawn('setsid', ['sleep', '1002'], { stdio: 'ignore', detached: true, env: {} }).unref()
}
if (mode === 'eats-memory') {
  const eaten = []
  setInterval(() => eaten.push(Buffer.alloc(16 * 1024 * 1024, 1)), 5)
}
