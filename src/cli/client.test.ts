import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { isShiplockError } from '../core/errors.ts'
import { Client } from './client.ts'
import { isGitAddress } from './deploy-target.ts'
import { fatalOf } from './server-process.ts'

const servers: Server[] = []
afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
  }
})

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

describe('the client', () => {
  test('a stream that is cut is taken up where it was, each frame once', async () => {
    const asked: (string | undefined)[] = []
    const url = await serve((request, response) => {
      asked.push(request.headers['last-event-id'] as string | undefined)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      const from = Number(request.headers['last-event-id'] ?? 0)
      response.write(`: alive\n\nid: ${from + 1}\nevent: line\ndata: {"n":${from + 1}}\n\n`)
      if (from < 2) setImmediate(() => response.destroy())
      else response.end('event: end\ndata: {"reason":"done"}\n\n')
    })
    const seen: unknown[] = []
    const frames = new Client(url, 't').stream('getDeploymentLogs', { params: { id: 'dep_1' }, signal: new AbortController().signal })
    for await (const frame of frames) seen.push(frame.data)
    expect(seen).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }, { reason: 'done' }])
    expect(asked).toEqual([undefined, '1', '2'])
  })

  test('a stream that says where it begins is taken up there, although nothing came yet', async () => {
    const asked: (string | undefined)[] = []
    const url = await serve((request, response) => {
      asked.push(request.headers['last-event-id'] as string | undefined)
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      response.write('id: 41\n\n')
      if (asked.length === 1) setImmediate(() => response.destroy())
      else response.end('event: end\ndata: {}\n\n')
    })
    for await (const frame of new Client(url, 't').stream('listEvents', { signal: new AbortController().signal }))
      expect(frame.event).toBe('end')
    expect(asked).toEqual([undefined, '41'])
  })

  test('the server’s own refusal is what the caller gets', async () => {
    const problem = {
      type: 'x',
      title: 'x',
      status: 409,
      detail: 'v1 is live',
      code: 'ROLLBACK_UNAVAILABLE',
      hint: 'h',
      details: { kept: [] },
    }
    const url = await serve((_, response) =>
      response.writeHead(409, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem)),
    )
    const error = await new Client(url, 't').call('getQueue').catch((reason: unknown) => reason)
    expect(isShiplockError(error, 'ROLLBACK_UNAVAILABLE') && error.message).toBe('v1 is live')
  })

  test('nobody there, or another program there, is SERVER_UNREACHABLE', async () => {
    const other = await serve((_, response) => response.writeHead(200).end('<html>'))
    const refusing = await serve((_, response) => response.writeHead(502).end('<html>bad gateway'))
    const nobody = await new Client('http://127.0.0.1:1', 't').call('getQueue').catch((reason: unknown) => reason)
    expect(isShiplockError(nobody, 'SERVER_UNREACHABLE')).toBe(true)
    for (const url of [other, refusing]) {
      const error = await new Client(url, 't').call('getQueue').catch((reason: unknown) => reason)
      expect(isShiplockError(error, 'SERVER_UNREACHABLE'), url).toBe(true)
    }
  })
})

describe('what a server said before it ended', () => {
  test('its fatal line is the error; anything else is not', () => {
    const fatal = JSON.stringify({ level: 'fatal', code: 'PORT_IN_USE', message: 'taken', hint: 'h', details: { port: 1 } })
    expect(fatalOf(['noise', fatal, '{"level":"info"}'])).toMatchObject({ code: 'PORT_IN_USE', message: 'taken' })
    expect(fatalOf(['noise', '{"level":"fatal","code":"NO_SUCH"}', ''])).toBeNull()
  })
})

describe('targets', () => {
  test.each(['https://example.com/a.git', 'ssh://git@host/a', 'file:///srv/a', 'git@github.com:a/b.git'])('%s is a repository', (target) =>
    expect(isGitAddress(target)).toBe(true),
  )
  test.each(['.', './a', '/srv/a', 'a/b', 'C:dir', '--upload-pack=x', 'ext::sh -c x'])('%s is a path', (target) =>
    expect(isGitAddress(target)).toBe(false),
  )
})
