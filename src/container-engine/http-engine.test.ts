import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { EngineRefusal } from './engine.ts'
import { createContainerEngine } from './http-engine.ts'

type Answer = (request: IncomingMessage, response: ServerResponse) => void

async function standIn(answer: Answer, version: object = { ApiVersion: '1.41', Version: '1', Os: 'linux', Arch: 'amd64' }) {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    if (request.url === '/version') return response.end(JSON.stringify(version))
    answer(request, response)
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  const engine = createContainerEngine({
    address: { kind: 'tcp', origin: `http://127.0.0.1:${port}`, text: `tcp://127.0.0.1:${port}` },
    retryMs: 300,
  })
  onTestFinished(async () => {
    await engine.close()
    server.closeAllConnections()
    server.close()
  })
  return { engine, asked, server }
}

test('the API version is negotiated once, and the older of the two is spoken', async () => {
  const { engine, asked } = await standIn((_request, response) => response.end('[]'))
  await Promise.all([engine.json('GET', '/containers/json', { query: { all: true, filter: undefined } }), engine.json('GET', '/info')])
  expect(asked.toSorted()).toEqual(['GET /v1.41/containers/json?all=true', 'GET /v1.41/info', 'GET /version'])
  const newer = await standIn((_request, response) => response.end(), { ApiVersion: '1.99', MinAPIVersion: '1.44' })
  expect((await newer.engine.version()).api).toBe('1.47')
})

test('an engine that speaks only other versions is refused by number', async () => {
  const { engine } = await standIn((_request, response) => response.end(), { ApiVersion: '2.3', MinAPIVersion: '2.0' })
  await expect(engine.json('GET', '/info')).rejects.toMatchObject({
    code: 'ENGINE_UNREACHABLE',
    message: expect.stringContaining('API 2.0 to 2.3'),
  })
})

test('a refusal keeps its status and the words of the engine, made printable', async () => {
  const { engine } = await standIn((_request, response) => {
    response.statusCode = 404
    response.end(JSON.stringify({ message: 'No such image: \u001b[31mx\n' }))
  })
  await expect(engine.json('GET', '/images/x/json')).rejects.toMatchObject({
    status: 404,
    message: expect.stringMatching(/^No such image: x/),
  })
  await expect(engine.stream('GET', '/images/x/get')).rejects.toBeInstanceOf(EngineRefusal)
})

test('calls are repeated while nobody answers, within a bound; what must not happen twice is not', async () => {
  let cut = 2
  const { engine, asked, server } = await standIn((request, response) => {
    if (cut-- > 0) return request.destroy()
    response.end('{"ok":true}')
  })
  expect(await engine.json('POST', '/containers/create')).toEqual({ ok: true })
  cut = 1
  await expect(engine.json('POST', '/exec/x/start', { isRepeatable: false })).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
  expect(asked.filter((line) => line.includes('/exec/'))).toHaveLength(1)
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  await expect(engine.json('GET', '/info')).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE', info: { actor: 'retry' } })
  expect(engine.isReachable).toBe(false)
})

test('an answer that does not come in time, or is no JSON, or is none of ours to wait for, ends the call', async () => {
  const { engine } = await standIn((request, response) => {
    if (request.url?.endsWith('/text')) response.end('plain')
  })
  await expect(engine.json('GET', '/never', { timeoutMs: 50 })).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
  await expect(engine.json('GET', '/text')).rejects.toMatchObject({ status: 502 })
  const abort = new AbortController()
  const asked = engine.json('GET', '/never', { signal: abort.signal, timeoutMs: null })
  abort.abort(new Error('enough'))
  await expect(asked).rejects.toThrow('enough')
})

test('a stream goes on after the bound for its beginning, and tells when it breaks off', async () => {
  const { engine } = await standIn((request, response) => {
    response.write('one')
    setTimeout(() => response.write('two', () => request.socket.destroy()), 120)
  })
  const { body } = await engine.stream('GET', '/events', { timeoutMs: 50 })
  const seen: string[] = []
  const reading = (async () => {
    for await (const chunk of body) seen.push(chunk.toString())
  })()
  await expect(reading).rejects.toMatchObject({ code: 'ENGINE_UNREACHABLE' })
  expect(seen.join('')).toBe('onetwo')
})
