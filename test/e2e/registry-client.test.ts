import { createHash } from 'node:crypto'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import type { RegistryAuth } from '../../src/container-engine/registry-auth.ts'
import { isSameSite, RegistryClient } from '../../src/registry/registry-client.ts'
import { withRegistryRetry } from '../../src/registry/registry-problem.ts'

/** A registry that misbehaves on demand; what a real one does is tested against the real one. */
const MANIFEST = JSON.stringify({ schemaVersion: 2, config: { digest: `sha256:${'c'.repeat(64)}` } })
const DIGEST = `sha256:${createHash('sha256').update(MANIFEST).digest('hex')}`
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const signal = new AbortController().signal
const closes: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closes.splice(0)) await close()
})

async function standIn(
  answer: (request: IncomingMessage, response: ServerResponse) => void,
  credentials: RegistryAuth | null = null,
): Promise<{ client: RegistryClient; origin: string }> {
  const server = createServer(answer)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  closes.push(() => new Promise((resolve) => void server.close(resolve).closeAllConnections()))
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`
  return { client: new RegistryClient({ host, isPlain: true, credentials }), origin: `http://${host}` }
}

const manifest = (response: ServerResponse, body = MANIFEST) => response.writeHead(200, { 'content-type': TYPE }).end(body)

test('a token is drawn with our password from where the registry says, once per repository', async () => {
  const seen: string[] = []
  const { client } = await standIn(
    (request, response) => {
      seen.push(`${request.method} ${request.url} ${request.headers.authorization ?? '-'}`)
      if (request.url?.startsWith('/token') === true) return void response.end(JSON.stringify({ token: 'tok-1' }))
      if (request.headers.authorization === 'Bearer tok-1') return void manifest(response)
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token",service="reg"` }).end()
    },
    { username: 'u', password: 'secret' },
  )
  expect(await client.findManifest('a/b', 'tag', signal)).toMatchObject({ digest: DIGEST, mediaType: TYPE })
  expect(await client.findManifest('a/b', DIGEST, signal)).toMatchObject({ digest: DIGEST })
  const basic = `Basic ${Buffer.from('u:secret').toString('base64')}`
  expect(seen).toEqual([
    'GET /v2/a/b/manifests/tag -',
    `GET /token?service=reg&scope=repository%3Aa%2Fb%3Apull%2Cpush ${basic}`,
    'GET /v2/a/b/manifests/tag Bearer tok-1',
    `GET /v2/a/b/manifests/${DIGEST} Bearer tok-1`,
  ])
})

test('an identity token is exchanged, never sent to the registry itself', async () => {
  const seen: (string | undefined)[] = []
  const { client } = await standIn(
    (request, response) => {
      if (request.url === '/token') {
        let body = ''
        request
          .on('data', (chunk) => (body += chunk))
          .on('end', () => {
            seen.push(`${request.method} ${new URLSearchParams(body).get('refresh_token')}`)
            response.end(JSON.stringify({ access_token: 'tok-2' }))
          })
        return
      }
      seen.push(request.headers.authorization)
      if (request.headers.authorization === 'Bearer tok-2') return void manifest(response)
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${request.headers.host}/token"` }).end()
    },
    { identityToken: 'refresh' },
  )
  expect(await client.findManifest('a/b', 'tag', signal)).not.toBeNull()
  expect(seen).toEqual([undefined, 'POST refresh', 'Bearer tok-2'])
})

test('a password that is refused is not tried again and again', async () => {
  let asked = 0
  const { client } = await standIn(
    (_request, response) => {
      asked += 1
      response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    },
    { username: 'u', password: 'wrong' },
  )
  await expect(client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({ kind: 'denied' })
  expect(asked).toBe(2)
})

test('without credentials a registry that wants some is told apart from one that is down', async () => {
  const { client } = await standIn((_request, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end())
  await expect(client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({
    kind: 'denied',
    message: expect.stringContaining('none are configured'),
  })
})

test('I7: a registry that gives another manifest than the digest that was asked for is not believed', async () => {
  const { client } = await standIn((_request, response) => void manifest(response, '{"schemaVersion":2}'))
  await expect(client.findManifest('a/b', DIGEST, signal)).rejects.toMatchObject({ kind: 'refused' })
})

test('I9: a token server that is not below HTTPS gets no password from an HTTPS registry', async () => {
  const client = new RegistryClient({
    host: '127.0.0.1:1',
    isPlain: false,
    credentials: { username: 'u', password: 'p' },
  })
  const answers = [new Response('', { status: 401, headers: { 'www-authenticate': 'Bearer realm="http://evil.example.com/token"' } })]
  const original = globalThis.fetch
  const asked: string[] = []
  globalThis.fetch = (async (url: string) => {
    asked.push(url)
    return answers.shift() ?? new Response('{"token":"x"}')
  }) as typeof fetch
  try {
    await expect(client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({ kind: 'refused' })
    expect(asked).toEqual(['https://127.0.0.1:1/v2/a/b/manifests/tag'])
  } finally {
    globalThis.fetch = original
  }
})

test('I8: a token server of another site gets no password, and a redirect nothing at all', async () => {
  const elsewhere: string[] = []
  const other = await standIn((request, response) => {
    elsewhere.push(request.url ?? '')
    response.end(JSON.stringify({ token: 'x' }))
  })
  const port = new URL(other.origin).port
  const credentials = { username: 'u', password: 'secret' }
  const named = await standIn((_request, response) => {
    response.writeHead(401, { 'www-authenticate': `Bearer realm="http://localhost:${port}/token"` }).end()
  }, credentials)
  await expect(named.client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({
    kind: 'refused',
    message: expect.stringContaining('a token server of another site, localhost'),
  })
  for (const status of [301, 302, 307, 308]) {
    const sent = await standIn(
      (_request, response) => response.writeHead(status, { location: `${other.origin}/v2/a/b` }).end(),
      credentials,
    )
    await expect(sent.client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({ kind: 'refused' })
  }
  expect(elsewhere).toEqual([])
})

test.each([
  ['registry-1.docker.io', 'auth.docker.io', true],
  ['registry.gitlab.com', 'gitlab.com', true],
  ['ghcr.io', 'ghcr.io', true],
  ['registry.example.com', 'example.com.evil.org', false],
  ['registry.example.com', 'evil.org', false],
  ['registry', 'localhost', false],
  ['127.0.0.1', '10.0.0.1', false],
  ['10.1.0.1', '10.2.0.1', false],
  ['[::1]', '[fd00::1]', false],
])('%s and %s are one site: %s', (host, other, isOne) => {
  expect([isSameSite(host, other), isSameSite(other, host)]).toEqual([isOne, isOne])
})

test('what may pass is tried again at the pace that the registry asks for; what may not is not', async () => {
  let asked = 0
  const { client } = await standIn((_request, response) => {
    asked += 1
    if (asked === 1) return void response.writeHead(503, { 'retry-after': '7' }).end()
    if (asked === 2) return void response.destroy()
    if (asked === 3) return void response.writeHead(429).end('{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}')
    manifest(response)
  })
  const pauses: number[] = []
  const clock = { now: () => 0, monotonic: () => 0, sleep: async (ms: number) => void pauses.push(ms) }
  const found = await withRegistryRetry(() => client.findManifest('a/b', 'tag', signal), { clock, signal, onRetry: () => {} })
  expect(found).toMatchObject({ digest: DIGEST })
  expect(asked).toBe(4)
  expect(pauses[0]).toBe(7000)
  const refusing = await standIn((_request, response) => void response.writeHead(403).end('{"errors":[{"code":"DENIED","message":"no"}]}'))
  pauses.length = 0
  await expect(
    withRegistryRetry(() => refusing.client.findManifest('a/b', 'tag', signal), { clock, signal, onRetry: () => {} }),
  ).rejects.toMatchObject({ kind: 'denied', message: expect.stringContaining('DENIED: no') })
  expect(pauses).toEqual([])
})

test('I12: an answer without end is cut', async () => {
  const { client } = await standIn((_request, response) => {
    response.writeHead(200, { 'content-type': TYPE })
    const chunk = Buffer.alloc(1024 * 1024)
    const more = () => {
      while (!response.destroyed && response.write(chunk));
    }
    response.on('drain', more)
    more()
  })
  await expect(client.findManifest('a/b', 'tag', signal)).rejects.toMatchObject({
    kind: 'refused',
    message: expect.stringContaining('larger than'),
  })
})
