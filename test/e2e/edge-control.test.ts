import { mkdtempSync, rmSync } from 'node:fs'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { ShiplockError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { ControlClient } from '../../src/edge/embedded/control-client.ts'
import { ControlServer } from '../../src/edge/embedded/control-server.ts'
import { type RpcHandler, RpcPeer } from '../../src/edge/embedded/rpc.ts'
import { eventually } from '../support/eventually.ts'

let directory: string
let path: string
const servers: ControlServer[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shiplock-control-'))
  path = join(directory, 'control.sock')
})
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.disconnect(null)
    await server.close()
  }
  rmSync(directory, { recursive: true })
})

async function serve(handler: RpcHandler): Promise<ControlServer> {
  const server = new ControlServer(path, handler)
  await server.listen()
  servers.push(server)
  return server
}

test('answers find their calls, whatever order they come in', async () => {
  const waiting: ((value: unknown) => void)[] = []
  await serve((op) => (op === 'slow' ? new Promise((resolve) => waiting.push(resolve)) : Promise.resolve(op)))
  const client = new ControlClient(path)
  const slow = client.call('slow', {})
  expect(await client.call('quick', {})).toBe('quick')
  waiting[0]?.('at last')
  expect(await slow).toBe('at last')
  client.close()
})

test('an error crosses with its code, message, hint and details', async () => {
  await serve(() => Promise.reject(new ShiplockError('FENCED', 'too old: ü\n', { hint: 'go home', details: { fence: 3 } })))
  const client = new ControlClient(path)
  await expect(client.call('swap', {})).rejects.toMatchObject({
    code: 'FENCED',
    message: 'too old: ü\n',
    hint: 'go home',
    details: { fence: 3 },
  })
  client.close()
})

test('a call whose answer was lost with its connection is made again on the next', async () => {
  let calls = 0
  const server = await serve(async () => {
    calls += 1
    if (calls === 1) server.disconnect(null)
    return calls
  })
  const client = new ControlClient(path)
  expect(await client.call('swap', {})).toBe(2)
  client.close()
})

test('a call waits for an edge that is being restarted', async () => {
  const client = new ControlClient(path)
  const call = client.call('read', {})
  await serve(async () => 'here again')
  expect(await call).toBe('here again')
  client.close()
})

test('a call that nobody answers ends after its time', async () => {
  await serve(() => new Promise(() => {}))
  const client = new ControlClient(path)
  await expect(client.call('read', {}, 50)).rejects.toMatchObject({ code: 'EDGE_UNAVAILABLE' })
  await expect(new ControlClient(join(directory, 'nobody')).call('read', {}, 50)).rejects.toThrow(/does not run \(ENOENT\)/)
  client.close()
})

test('an aborted call ends with the reason of its signal', async () => {
  const reason = new Error('enough')
  await expect(new ControlClient(path).call('read', {}, 5000, AbortSignal.abort(reason))).rejects.toBe(reason)
})

test.each([
  ['no JSON', 'hello\n'],
  ['a list', '5\n'],
  ['a call without an id', '{"op":"read"}\n'],
  ['a call whose name is no text', '{"id":1,"op":{}}\n'],
  ['a line without an end', 'a'.repeat(LIMITS.edgeControlBytes + 1)],
])('I9: a peer that sends %s is disconnected, the others are served on', async (_name, bytes) => {
  await serve(async () => 'fine')
  const client = new ControlClient(path)
  expect(await client.call('read', {})).toBe('fine')
  const rude = connect({ path })
  let isClosed = false
  rude.on('error', () => {})
  rude.on('close', () => {
    isClosed = true
  })
  rude.write(bytes)
  await eventually(() => isClosed)
  expect(await client.call('read', {})).toBe('fine')
  client.close()
})

test('both sides can call, and text that is cut inside a character stays whole', async () => {
  const name = 'ü€😀'.repeat(50)
  const server: Server = createServer()
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  await new Promise<void>((resolve) => server.listen({ path }, resolve))
  const raw = connect({ path })
  const peer = new RpcPeer(await accepted, async (_op, params) => params)
  const bytes = Buffer.from(`${JSON.stringify({ id: 1, op: 'echo', params: name })}\n`)
  let text = ''
  raw.on('data', (chunk: Buffer) => {
    text += chunk.toString()
  })
  raw.setNoDelay(true)
  for (const byte of bytes) raw.write(Buffer.of(byte))
  await eventually(() => text.endsWith('\n'))
  expect(JSON.parse(text)).toEqual({ reply: 1, result: name })
  const call = peer.call('ping', {}, 5000)
  await eventually(() => text.includes('"ping"'))
  raw.write('{"reply":1,"result":"pong"}\n')
  expect(await call).toBe('pong')
  raw.destroy()
  server.close()
})
