import { readFile, stat } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ensureAdminToken } from '../../src/api/admin-token.ts'
import { Problem } from '../../src/contract/problem.ts'
import type { RouteSpec } from '../../src/contract/route.ts'
import { ROUTES } from '../../src/contract/routes.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'

let api: ApiFixture
beforeAll(async () => {
  api = await startApi()
})
afterAll(() => api.stop())

const routes = Object.entries<RouteSpec>(ROUTES)
const fill = (path: string) => path.replace('{id}', 'dep_x').replace('{service}', 'web').replace('{release}', '1').replace('{name}', 'NAME')

/** A request as raw as possible: any Host, any method. */
function raw(
  method: string,
  path: string,
  headers: Readonly<Record<string, string>>,
): Promise<{ status: number; body: string; headers: Record<string, unknown> }> {
  const { host, port } = api.server.address
  return new Promise((resolve, reject) => {
    const outgoing = request({ host, port, method, path, headers, agent: false }, (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => {
        body += chunk
      })
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body, headers: response.headers }))
    })
    outgoing.on('error', reject)
    outgoing.end()
  })
}

describe('access', () => {
  test.each(routes.filter(([, spec]) => spec.isPublic !== true))('%s wants a token that is known', async (_, spec) => {
    for (const headers of [{}, { authorization: 'Bearer slk_wrong' }, { authorization: 'Basic YTpi' }, { authorization: 'Bearer ' }]) {
      const { status, body, headers: answered } = await raw(spec.method.toUpperCase(), fill(spec.path), headers)
      expect(status).toBe(401)
      expect(answered['www-authenticate']).toContain('Bearer')
      expect(Problem.parse(JSON.parse(body)).code).toBe('UNAUTHORIZED')
    }
  })

  test('the admin token is a 0600 file, kept at later starts, and only its hash is in the database', async () => {
    const path = join(api.dataDirectory, 'admin-token')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    const again = await ensureAdminToken(api.database, api.dataDirectory)
    expect(again.isNew).toBe(false)
    expect((await readFile(path, 'utf8')).trim()).toBe(api.token)
    const rows = await api.database.query('select * from tokens')
    expect(rows).toHaveLength(1)
    expect(JSON.stringify(rows)).not.toContain(api.token)
  })

  test('a token that was revoked is refused at once', async () => {
    const hash = (await api.database.query<{ hash: Buffer }>('select hash from tokens'))[0]?.hash
    await api.database.query('delete from tokens')
    expect((await api.call('GET', '/v1/queue')).status).toBe(401)
    await api.database.query(`insert into tokens (id, name, hash) values ('tok_again', 'admin', $1)`, [hash])
    expect((await api.call('GET', '/v1/queue')).status).toBe(200)
  })

  test('I9: a Host that is not ours is refused, health included (DNS rebinding)', async () => {
    const answer = await raw('GET', '/v1/health', { host: 'evil.example.com' })
    expect(answer.status).toBe(403)
    expect((await raw('GET', '/v1/health', { host: 'shiplock.example.com' })).status).toBe(200)
  })

  test('health and the document need no token', async () => {
    expect((await raw('GET', '/v1/health', {})).status).toBe(200)
    expect(JSON.parse((await raw('GET', '/openapi.json', {})).body).openapi).toBe('3.1.0')
    expect(JSON.parse((await raw('GET', '/v1/openapi.json', {})).body).openapi).toBe('3.1.0')
  })

  test('the address is left in the data directory for clients of this machine', async () => {
    expect((await readFile(join(api.dataDirectory, 'api-url'), 'utf8')).trim()).toBe(api.url)
  })
})

describe('refusals', () => {
  test('an unknown path is a 404 problem, a known one with another method a 405 that names what is possible', async () => {
    const missing = await api.call('GET', '/v1/nothing')
    expect(missing.headers.get('content-type')).toBe('application/problem+json')
    expect(Problem.parse(missing.body)).toMatchObject({ status: 404, code: 'NOT_FOUND' })
    const wrong = await api.call('DELETE', '/v1/deployments')
    expect(wrong.status).toBe(405)
    expect(wrong.headers.get('allow')).toBe('POST, GET')
    expect(Problem.parse(wrong.body).code).toBe('METHOD_NOT_ALLOWED')
  })

  test.each([
    ['{"service": ', 400, 'INPUT_INVALID'],
    ['', 400, 'INPUT_INVALID'],
    ['[]', 400, 'INPUT_INVALID'],
    ['null', 400, 'INPUT_INVALID'],
    [`{"service":"web","x":"${'y'.repeat(LIMITS.apiBodyBytes)}"}`, 413, 'BODY_TOO_LARGE'],
  ])('a body that is no request is refused as a problem (%#)', async (body, status, code) => {
    const answer = await api.call('POST', '/v1/deployments', body)
    expect(answer.status).toBe(status)
    expect(Problem.parse(answer.body).code).toBe(code)
  })

  test('a body that is not said to be JSON is refused', async () => {
    const answer = await api.call('POST', '/v1/deployments', '{"service":"web"}', { 'content-type': 'text/plain' })
    expect(answer.status).toBe(400)
    expect(answer.body.detail).toContain('application/json')
  })

  test('query parameters are checked like bodies: unknown, wrong, twice', async () => {
    expect((await api.call('GET', '/v1/deployments?servce=web')).body.detail).toBe('query: unknown key servce, did you mean service?')
    expect((await api.call('GET', '/v1/deployments?limit=0')).status).toBe(400)
    expect((await api.call('GET', '/v1/deployments?limit=201')).status).toBe(400)
    expect((await api.call('GET', '/v1/deployments?limit=1&limit=2')).body.detail).toContain('more than once')
    expect((await api.call('GET', '/v1/events?type=stage.strated')).body.detail).toContain('did you mean stage.started?')
    expect((await api.call('GET', `/v1/deployments?cursor=${Buffer.from("1'; drop table").toString('base64url')}`)).status).toBe(400)
  })

  test('an unknown error tells nothing of its inside', async () => {
    const broken = await startApi({
      checks: async () => {
        throw new Error('postgres://user:secret@host failed')
      },
    })
    const { status, body } = await broken.call('GET', '/v1/server')
    await broken.stop()
    expect(status).toBe(500)
    expect(JSON.stringify(body)).not.toContain('secret')
  })
})

describe('fuzz', () => {
  const word = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 40 }),
    fc.constantFrom('web', 'git', 'upload', '\u0000', '..', '-x', '\ud800', '__proto__'),
  )

  test('I9: no body and no query, whatever it holds, is answered with a 5xx or anything but a problem', { timeout: 120_000 }, async () => {
    const posts = routes.filter(([, spec]) => spec.body !== undefined && spec.body !== 'archive')
    const body = fc.oneof(
      fc.jsonValue(),
      fc.record(
        {
          service: word,
          project: word,
          environment: word,
          release: fc.oneof(fc.integer(), fc.double(), word),
          source: fc.record(
            { kind: fc.constantFrom('git', 'upload', 'image', 'x'), url: word, ref: word, digest: word, reference: word },
            { requiredKeys: [] },
          ),
          options: fc.dictionary(word, fc.jsonValue(), { maxKeys: 3 }),
          variables: fc.dictionary(word, word, { maxKeys: 3 }),
          secret: fc.oneof(fc.boolean(), word),
        },
        { requiredKeys: [] },
      ),
    )
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...posts), body, async ([, spec], value) => {
        const { status, body: answer } = await api.call(spec.method.toUpperCase(), fill(spec.path), value)
        expect(status).toBeLessThan(500)
        if (status >= 400) Problem.parse(answer)
      }),
      { numRuns: 400 },
    )
  })

  test('I9: the same for paths and queries', { timeout: 120_000 }, async () => {
    const gets = routes.filter(([, spec]) => spec.method === 'get' || spec.method === 'delete')
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...gets),
        word,
        fc.dictionary(fc.oneof(word, fc.constantFrom('limit', 'cursor', 'after', 'service', 'since', 'type')), word, { maxKeys: 3 }),
        async ([, spec], segment, query) => {
          const path = spec.path.replaceAll(/\{\w+\}/g, encodeURIComponent(Buffer.from(segment).toString()) || 'x')
          const search = new URLSearchParams(Object.entries(query).map(([key, value]): [string, string] => [key, value])).toString()
          const { status, body } = await api.call(spec.method.toUpperCase(), `${path}?${search}`)
          expect(status, `${spec.method} ${path}?${search}`).toBeLessThan(500)
          if (status >= 400) Problem.parse(body)
        },
      ),
      { numRuns: 400 },
    )
  })
})
