import { randomBytes, randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { drawToken } from '../../src/api/admin-token.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import { eventually } from '../support/eventually.ts'
import { githubPush, HookClient, postRaw } from '../support/hook-client.ts'
import { makeToken } from '../support/two-projects.ts'

/** Without a credential nobody costs anybody (I13): what strangers send is answered cheaply, and keeps nobody else waiting. */
let api: ApiFixture
let hook: HookClient
beforeAll(async () => {
  api = await startApi({
    trustedProxies: ['127.0.0.1'],
    ratesPerMinute: { perToken: 100_000, anonymous: 100, failures: LIMITS.failuresPerMinute },
  })
  hook = await HookClient.create(api, 'web')
})
afterAll(() => api?.stop())

const MiB = 1024 * 1024
const ask = (token: string, address = '198.51.100.7') =>
  api.call('GET', '/v1/queue', undefined, { authorization: `Bearer ${token}`, 'x-forwarded-for': address })

describe('guessed tokens', () => {
  test('I13: a good token that was never used since the start comes through after any number of bad ones from its address', async () => {
    const statuses = new Set<number>()
    for (let count = 0; count < 5; count++) {
      const guesses = Array.from({ length: 60 }, () => ask(drawToken()))
      for (const answer of await Promise.all(guesses)) statuses.add(answer.status)
    }
    expect([...statuses].sort()).toEqual([401, 429])
    const fresh = await makeToken(api.database, { project: null, role: 'viewer' })
    expect((await ask(fresh)).status).toBe(200)
    expect((await ask(api.token)).status).toBe(200)
  })

  test('I13: what has not the form of a token costs the database nothing, and guesses a handful of statements', async () => {
    const before = api.queries.count
    const malformed = ['slk_guess', 'x', `slk_${'a'.repeat(44)}`, `slk_${'/'.repeat(43)}`, 'a'.repeat(512)]
    for (const token of malformed) expect([401, 429]).toContain((await ask(token, '198.51.100.8')).status)
    expect(api.queries.count).toBe(before)
    // While nothing can be looked up, whoever asks waits with the others: no guess has a statement of its own.
    const guesses: Promise<unknown>[] = []
    await api.database.transaction(async (tx) => {
      await tx.query('lock table tokens in access exclusive mode')
      const locked = api.queries.count
      guesses.push(...Array.from({ length: 300 }, () => ask(drawToken(), '198.51.100.9')))
      await eventually(() => expect(api.queries.count - locked).toBe(LIMITS.lookupsAtOnce))
      for (let round = 0; round < 20; round++) expect((await api.call('GET', '/openapi.json')).status).toBe(200)
      expect(api.queries.count - locked).toBe(LIMITS.lookupsAtOnce)
    })
    await Promise.all(guesses)
  })

  test('one that was revoked is refused with the next request, also while others are looked up', async () => {
    const token = await makeToken(api.database, { project: null, role: 'viewer', id: `tok_${randomBytes(8).toString('hex')}` })
    expect((await ask(token)).status).toBe(200)
    const guesses = Array.from({ length: 50 }, () => ask(drawToken()))
    await api.database.query('update tokens set revoked_at = now() where hash = sha256($1::text::bytea)', [token])
    expect([401, 429]).toContain((await ask(token)).status)
    await Promise.all(guesses)
  })
})

describe('deliveries', () => {
  const sockets: Socket[] = []
  const push = () => ({ ...githubPush(), n: randomUUID() })

  /** A delivery whose body is begun and never finished; what the server says to it. */
  async function unfinished(id: string, bytes: number, address: string): Promise<{ socket: Socket; said: () => string }> {
    const { port } = api.server.address
    const socket = connect(port, '127.0.0.1')
    sockets.push(socket)
    let said = ''
    socket.setEncoding('latin1').on('data', (text) => {
      said += text
    })
    socket.on('error', () => {})
    socket.write(
      `POST /hooks/${id} HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: ${address}\r\nContent-Type: application/json\r\nContent-Length: ${25 * MiB}\r\n\r\n`,
    )
    for (let sent = 0; sent < bytes && !socket.destroyed; sent += MiB) {
      if (!socket.write(Buffer.alloc(Math.min(MiB, bytes - sent), 0x20))) {
        const waiting = new AbortController()
        const { signal } = waiting
        await Promise.race([once(socket, 'drain', { signal }), once(socket, 'close', { signal })]).catch(() => {})
        waiting.abort()
      }
    }
    return { socket, said: () => said }
  }
  afterAll(() => {
    for (const socket of sockets) socket.destroy()
  })

  test('I13: an unknown webhook is answered before its body, and the connection is closed', async () => {
    const asked = await unfinished('hook_00000000000000000000', 0, '203.0.113.1')
    await eventually(() => asked.said().includes('\r\n\r\n'))
    expect(asked.said()).toMatch(/^HTTP\/1\.1 401 /)
    await eventually(() => asked.socket.destroyed)
  })

  test('I13: bodies that are never finished, to an unknown webhook or to a known one, keep nobody out', async () => {
    for (const mebibytes of [24, 24, 24, 24, 24, 8]) await unfinished('hook_00000000000000000000', mebibytes * MiB, '203.0.113.2')
    expect((await hook.send(push())).status).toBe(202)
    for (let n = 0; n < 6; n++) await unfinished(hook.id, 24 * MiB, `203.0.113.${10 + n}`)
    expect((await hook.send(push())).status).toBe(202)
    const other = await HookClient.create(api, 'web')
    expect((await other.send(push())).status).toBe(202)
  })

  test('I13: what can’t be verified spends nothing of what the webhook may do', async () => {
    const body = JSON.stringify(push())
    const headers = (n: number) => ({ ...hook.headers(body, 'push', randomUUID(), 'wrong'), 'x-forwarded-for': `192.0.2.${n % 200}` })
    for (let round = 0; round < 7; round++) {
      await Promise.all(Array.from({ length: 100 }, (_, n) => postRaw(hook.url, headers(n), body)))
    }
    expect((await hook.send(push())).status).toBe(202)
  })

  test('I13: a good delivery comes in from an address that was told to wait', async () => {
    const from = (secret: string) => {
      const body = JSON.stringify(push())
      return postRaw(hook.url, { ...hook.headers(body, 'push', randomUUID(), secret), 'x-forwarded-for': '203.0.113.77' }, body)
    }
    const refused = []
    for (let n = 0; n <= LIMITS.webhookRefusalsPerMinute; n++) refused.push((await from('wrong')).status)
    expect(refused.at(-1)).toBe(429)
    expect((await from(hook.secret)).status).toBe(202)
  })

  test('I13: refused deliveries are not each a row', async () => {
    const other = await HookClient.create(api, 'web')
    await Promise.all(
      Array.from({ length: LIMITS.webhookRefusalNotesPerMinute + 60 }, (_, n) =>
        postRaw(other.url, { ...other.headers('{}', 'push', randomUUID(), 'wrong'), 'x-forwarded-for': `192.0.2.${n}` }, '{}'),
      ),
    )
    const counted = await eventually(async () => {
      const [row] = await api.database.query<{ count: number }>('select count(*) as count from webhook_deliveries where webhook_id = $1', [
        other.id,
      ])
      return row !== undefined && row.count >= LIMITS.webhookRefusalNotesPerMinute && row
    })
    expect(counted.count).toBeLessThan(LIMITS.webhookRefusalNotesPerMinute + 10)
  })
})

describe('public routes', () => {
  test('I13: health is never refused, whoever else asks for it, and costs few statements', async () => {
    const before = api.queries.count
    const answers = await Promise.all(Array.from({ length: 300 }, () => fetch(`${api.url}/v1/health`)))
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]))
    await Promise.all(answers.map((answer) => answer.arrayBuffer()))
    expect(api.queries.count - before).toBeLessThan(30)
  })
})

describe('connections', () => {
  test('I13: of half-sent requests of one address the oldest end when it opens more, and a good token is served meanwhile', async () => {
    const alone = await startApi()
    const half: Socket[] = []
    try {
      const { port } = alone.server.address
      for (let n = 0; n < LIMITS.strangersPerAddress + 20; n++) {
        const socket = connect(port, '127.0.0.1').on('error', () => {})
        half.push(socket)
        socket.write('GET /v1/queue HTTP/1.1\r\nHost: x\r\n')
      }
      await eventually(() => half.slice(0, 15).every((socket) => socket.closed))
      expect((await alone.call('GET', '/v1/queue')).status).toBe(200)
    } finally {
      for (const socket of half) socket.destroy()
      await alone.stop()
    }
  })
})
