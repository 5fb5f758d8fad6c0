import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { killEdgeApps, startEdgeApp } from '../support/edge-apps.ts'
import { closeEdges, HOST, ROUTE, startEdge, swapTo } from '../support/edge-fixture.ts'
import { rawClient, startRawApp, statusOf } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

afterEach(async () => {
  await closeEdges()
  await killEdgeApps()
})

async function openSocket(port: number): Promise<WebSocket> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { headers: { host: HOST } })
  await once(socket, 'open')
  return socket
}

const say = async (socket: WebSocket, text: string) => {
  const answer = once(socket, 'message')
  socket.send(text)
  return String((await answer)[0])
}

test('I3: a websocket stays on its version through a swap, and gets a close frame 1012 at the deadline of the drain', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const socket = await openSocket(port)
  expect(await say(socket, 'one')).toBe('old one')
  await edge.swap(swapTo([next.target]))
  expect(await say(socket, 'two')).toBe('old two')
  const closed = once(socket, 'close')
  const report = await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 200, fence: 1 })
  expect((await closed)[0]).toBe(1012)
  expect(report).toMatchObject({ drainedConnections: 0, cutConnections: 1 })
  expect(await say(await openSocket(port), 'three')).toBe('next three')
})

test('I3: a websocket that ends before the deadline counts as drained', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const socket = await openSocket(port)
  await edge.swap(swapTo([next.target]))
  const drain = edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 20_000, fence: 1 })
  expect(await say(socket, 'still here')).toBe('old still here')
  socket.close()
  expect(await drain).toMatchObject({ drainedConnections: 1, cutConnections: 0 })
})

test('I3: a websocket that is busy with a long message is closed between two frames, never inside one', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const socket = await openSocket(port)
  const errors: unknown[] = []
  socket.on('error', (error) => errors.push(error))
  let messages = 0
  const payload = Buffer.alloc(300_000, 7)
  socket.on('message', (data: Buffer) => {
    if (data.length === payload.length) messages += 1
    if (socket.readyState === WebSocket.OPEN) socket.send(payload)
  })
  socket.send(payload)
  await eventually(() => messages > 5)
  await edge.swap(swapTo([next.target]))
  const closed = once(socket, 'close')
  await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 0, fence: 1 })
  expect((await closed)[0]).toBe(1012)
  expect(errors).toEqual([])
})

test('I3: an event stream stays on its version and ends between two events at the deadline', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const client = await rawClient(port)
  client.socket.write(`GET /events HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
  await client.until('old 2')
  await edge.swap(swapTo([next.target]))
  await client.until('old 5')
  const report = await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 100, fence: 1 })
  expect(report).toMatchObject({ cutConnections: 1 })
  const text = await client.until(/\r\n0\r\n\r\n$/)
  expect(text).toMatch(/data: old \d+\n\n\r\n0\r\n\r\n$/)
  expect(text).not.toContain('next')
  client.socket.destroy()
})

test('I3: an event that is only half there at the deadline is completed before the stream ends', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startRawApp((connection) => {
    connection.socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: 1\n\ndata: half')
    return null
  })
  const next = await startEdgeApp('next')
  await edge.swap(swapTo([{ instanceId: 'ins_raw' as never, host: '127.0.0.1', port: app.port }]))
  const client = await rawClient(port)
  client.socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
  await client.until('half')
  await edge.swap(swapTo([next.target]))
  const drain = edge.drain(ROUTE, ['ins_raw' as never], { timeoutMs: 0, fence: 1 })
  setTimeout(() => app.connections[0]?.socket.write(' and whole\n\ndata: 3\n\n'), 50)
  await drain
  await client.until(/and whole\n\n\r\n0\r\n\r\n$/)
  expect(client.text).not.toContain('data: 3')
  await app.close()
  client.socket.destroy()
})

test('I3: slow answers are waited for; what has not begun by the deadline gets 504 and counts as cut', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const ask = async (path: string) => {
    const client = await rawClient(port)
    client.socket.write(`GET ${path} HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
    return client
  }
  const [quick, slow, drip] = [await ask('/slow?ms=300'), await ask('/slow?ms=60000'), await ask('/drip')]
  await eventually(async () => (await edge.traffic(ROUTE))?.targets[0]?.inFlight === 3)
  await edge.swap(swapTo([next.target]))
  const report = await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 1500, fence: 1 })
  expect(report).toMatchObject({ drainedConnections: 2, cutConnections: 1, failures: 1 })
  expect(quick.text).toContain('\r\n\r\nold')
  expect(drip.text).toMatch(/o\r\n0\r\n\r\n$/)
  expect(statusOf(await slow.until(/HTTP\/1\.1 504/))).toBe(504)
  for (const client of [quick, slow, drip]) client.socket.destroy()
})

test('an upgrade that the instance declines is passed on as the answer that it is', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startRawApp(() => 'HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno')
  await edge.swap(swapTo([{ instanceId: 'ins_raw' as never, host: '127.0.0.1', port: app.port }]))
  const client = await rawClient(port)
  client.socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n`)
  await client.untilClosed()
  expect(client.text).toMatch(/^HTTP\/1\.1 403 Forbidden[\s\S]*\r\n\r\nno$/)
  expect(app.received()).toMatch(/connection: upgrade\r\nupgrade: websocket\r\n/)
  await app.close()
})

test('an offer of h2c is ignored: the request is served as HTTP/1.1', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const client = await rawClient(port)
  client.socket.write(
    `GET / HTTP/1.1\r\nhost: ${HOST}\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n`,
  )
  await client.untilClosed()
  expect(client.text).toMatch(/^HTTP\/1\.1 200[\s\S]*v1$/)
})

test('a tunnel ends on both sides when either side ends', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startRawApp(() => 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nwelcome')
  await edge.swap(swapTo([{ instanceId: 'ins_raw' as never, host: '127.0.0.1', port: app.port }]))
  const open = async () => {
    const client = await rawClient(port)
    client.socket.write(`GET / HTTP/1.1\r\nhost: ${HOST}\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\nfirst words`)
    await client.until('welcome')
    return client
  }
  const left = await open()
  await app.connections[0]?.until('first words')
  left.socket.destroy()
  await app.connections[0]?.untilClosed()
  const right = await open()
  app.connections[1]?.socket.destroy()
  await right.untilClosed()
  await eventually(async () => (await edge.traffic(ROUTE))?.targets[0]?.inFlight === 0)
  await app.close()
})
