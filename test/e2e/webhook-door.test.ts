import { createHmac, randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import { eventually } from '../support/eventually.ts'
import { githubPush, HookClient, postRaw } from '../support/hook-client.ts'

let api: ApiFixture
let hook: HookClient
beforeAll(async () => {
  api = await startApi({ trustedProxies: ['127.0.0.1'] })
  hook = await HookClient.create(api, 'web')
})
afterAll(() => api?.stop())

const deliveries = async (id = hook.id) => (await api.call('GET', `/v1/webhooks/${id}/deliveries?limit=200`)).body.items
const anAddress = () => `10.${[0, 0, 0].map(() => Math.floor(Math.random() * 250) + 1).join('.')}`

describe('a delivery', () => {
  test('is answered 202 and stored, to be decided later', async () => {
    const answer = await hook.send(githubPush(), { delivery: 'guid-1' })
    expect(answer).toMatchObject({ status: 202, body: { verdict: 'received' } })
    expect((await deliveries()).find(({ id }: { id: string }) => id === answer.body.delivery)).toMatchObject({
      deliveryId: 'guid-1',
      event: 'push',
      verdict: 'received',
      decisions: [],
    })
  })

  test('is answered whatever the queue does: nobody waits for its tables', async () => {
    let letGo: () => void = () => {}
    const held = api.database.transaction(async (tx) => {
      await tx.query('lock table deployments, service_environments, events, services in access exclusive mode')
      await new Promise<void>((resolve) => {
        letGo = resolve
      })
    })
    await eventually(
      async () => (await api.database.query(`select 1 from pg_locks where mode = 'AccessExclusiveLock' and granted`)).length >= 4,
    )
    try {
      expect((await hook.send({ ...githubPush(), n: randomUUID() })).status).toBe(202)
    } finally {
      letGo()
      await held
    }
  })

  test('with an id that came before is a duplicate, and so is the same body under another id', async () => {
    const payload = { ...githubPush(), n: randomUUID() }
    const first = await hook.send(payload, { delivery: 'guid-2' })
    const again = await hook.send({ ...payload, n: 'another body' }, { delivery: 'guid-2' })
    expect(again).toMatchObject({ status: 200, body: { verdict: 'duplicate', of: first.body.delivery } })
    expect(await hook.send(payload, { delivery: 'guid-3' })).toMatchObject({
      status: 200,
      body: { verdict: 'duplicate', of: first.body.delivery },
    })
  })

  test('that comes many times at once counts once', async () => {
    const payload = { ...githubPush(), n: randomUUID() }
    const answers = await Promise.all(Array.from({ length: 12 }, () => hook.send(payload, { delivery: 'guid-many' })))
    expect(answers.map(({ body }) => body.verdict).sort()).toEqual([...Array(11).fill('duplicate'), 'received'])
  })

  test('a ping is answered at once', async () => {
    expect(await hook.send({ zen: 'Speak like a human.', hook_id: 1 }, { event: 'ping' })).toMatchObject({
      status: 200,
      body: { verdict: 'ignored' },
    })
  })

  test('another event is stored and ignored', async () => {
    const answer = await hook.send({ action: 'created' }, { event: 'star' })
    expect(answer).toMatchObject({ status: 200, body: { verdict: 'ignored', reason: 'event star does not deploy' } })
  })

  test('comes in under any Host, since a git host calls by a public name; the rest of the API does not', async () => {
    const body = JSON.stringify({ ...githubPush(), n: randomUUID() })
    expect((await postRaw(hook.url, { ...hook.headers(body), host: 'deploy.acme.example' }, body)).status).toBe(202)
    expect((await postRaw(`${api.url}/v1/webhooks`, { host: 'deploy.acme.example' }, '{}')).status).toBe(403)
  })

  test('by GitLab with a secret token, and by Gitea with a bare signature', async () => {
    const gitlab = await HookClient.create(api, 'web', { provider: 'gitlab' })
    const ping = JSON.stringify({ object_kind: 'note' })
    const asGitlab = { 'content-type': 'application/json', 'x-gitlab-event': 'Note Hook', 'x-gitlab-token': gitlab.secret }
    expect((await postRaw(gitlab.url, asGitlab, ping)).status).toBe(200)
    expect((await postRaw(gitlab.url, { ...asGitlab, 'x-gitlab-token': 'wrong' }, ping)).status).toBe(401)
    const gitea = await HookClient.create(api, 'web', { provider: 'gitea' })
    const body = JSON.stringify({ ...githubPush(), n: randomUUID() })
    const signature = createHmac('sha256', gitea.secret).update(body).digest('hex')
    const asGitea = {
      'content-type': 'application/json',
      'x-gitea-event': 'push',
      'x-gitea-delivery': randomUUID(),
      'x-gitea-signature': signature,
    }
    expect((await postRaw(gitea.url, asGitea, body)).status).toBe(202)
    const signing = await HookClient.create(api, 'web', { provider: 'gitlab', signing: true })
    expect(signing.secret).toMatch(/^whsec_/)
  })
})

describe('I9: what is refused', () => {
  const refusals = async () => (await deliveries()).filter(({ verdict }: { verdict: string }) => verdict === 'refused')

  test('a bad signature: 401, noted with its reason, without anything of the body', async () => {
    const answer = await hook.send({ ...githubPush(), n: randomUUID() }, { secret: 'wrong' })
    expect(answer).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } })
    expect(await eventually(async () => (await refusals())[0] ?? false)).toMatchObject({ code: 'mismatch', decisions: [], event: '' })
    const [row] = await api.database.query(`select parsed, payload from webhook_deliveries where verdict = 'refused' limit 1`)
    expect(row).toEqual({ parsed: null, payload: null })
  })

  test('an unknown webhook is answered exactly as a bad signature is', async () => {
    const body = JSON.stringify(githubPush())
    const bad = await hook.send(githubPush(), { secret: 'wrong' })
    for (const id of ['hook_00000000000000000000', 'hook_x', '%00', '..%2f..', 'x'.repeat(500)]) {
      const unknown = await postRaw(`${api.url}/hooks/${id}`, hook.headers(body), body)
      expect({ status: unknown.status, body: unknown.body }).toEqual({ status: bad.status, body: bad.body })
    }
  })

  test('no signature, a malformed one, one that stands there twice', async () => {
    const body = JSON.stringify(githubPush())
    const { 'X-Hub-Signature-256': signature = '', ...unsigned } = hook.headers(body)
    for (const headers of [
      unsigned,
      { ...unsigned, 'X-Hub-Signature-256': 'sha256=zz' },
      { ...unsigned, 'X-Hub-Signature-256': [signature, signature] },
    ]) {
      expect((await postRaw(hook.url, headers, body)).status).toBe(401)
    }
  })

  test('a webhook without a secret, and one that is turned off', async () => {
    const other = await HookClient.create(api, 'web')
    await api.database.query('update webhooks set sealed_secret = null where id = $1', [other.id])
    expect((await other.send(githubPush())).status).toBe(401)
    expect(await eventually(async () => (await deliveries(other.id))[0] ?? false)).toMatchObject({ code: 'no-secret' })
    const off = await HookClient.create(api, 'web')
    expect((await api.call('PUT', `/v1/webhooks/${off.id}`, { enabled: false })).body.enabled).toBe(false)
    expect((await off.send(githubPush())).status).toBe(401)
    expect(await eventually(async () => (await deliveries(off.id))[0] ?? false)).toMatchObject({ code: 'disabled' })
  })

  test('a form-encoded payload: 415 with the right advice, and the reason is kept', async () => {
    const body = `payload=${encodeURIComponent(JSON.stringify(githubPush()))}`
    const answer = await postRaw(hook.url, { ...hook.headers(body), 'content-type': 'application/x-www-form-urlencoded' }, body)
    expect(answer).toMatchObject({
      status: 415,
      body: { code: 'MEDIA_TYPE_UNSUPPORTED', hint: expect.stringContaining('application/json') },
    })
    expect((await deliveries())[0]).toMatchObject({
      verdict: 'failed',
      code: 'unreadable',
      reason: expect.stringContaining('application/json'),
    })
  })

  test('a body that is no JSON: 400 with what is wrong; the id may be used again', async () => {
    const answer = await postRaw(hook.url, hook.headers('{', 'push', 'guid-bad'), '{')
    expect(answer).toMatchObject({ status: 400, body: { code: 'INPUT_INVALID' } })
    expect((await hook.send({ ...githubPush(), n: randomUUID() }, { delivery: 'guid-bad' })).status).toBe(202)
  })

  test('I12: a body above the bound: 413 while it arrives', async () => {
    const body = Buffer.alloc(LIMITS.webhookBodyBytes + 1, 0x20)
    const answer = await postRaw(hook.url, hook.headers(body), body).catch((error: NodeJS.ErrnoException) => ({
      status: error.code,
      body: {},
    }))
    // The server may close before all of it is sent; the sender then sees the cut instead of the answer.
    expect([413, 'EPIPE', 'ECONNRESET']).toContain(answer.status)
  })

  test('I12: of refused requests only the newest are kept', async () => {
    const other = await HookClient.create(api, 'web')
    await api.database.query(
      `insert into webhook_deliveries (id, webhook_id, delivery_id, body_digest, verdict) select 'x' || n, $1, 'x' || n, '', 'refused' from generate_series(1, 300) n`,
      [other.id],
    )
    await other.send(githubPush(), { secret: 'wrong' })
    await eventually(async () => (await deliveries(other.id)).length === LIMITS.webhookRefusalsKept)
  })

  test('I13: who keeps sending what can’t be verified is told to wait, and others are not', async () => {
    const body = JSON.stringify({ ...githubPush(), n: randomUUID() })
    const from = (address: string, secret: string) =>
      postRaw(hook.url, { ...hook.headers(body, 'push', randomUUID(), secret), 'x-forwarded-for': address }, body)
    const answers = []
    for (let n = 0; n < LIMITS.webhookRefusalsPerMinute + 5; n++) answers.push((await from('203.0.113.9', 'wrong')).status)
    expect(answers.at(-1)).toBe(429)
    expect((await from('203.0.113.10', hook.secret)).status).toBe(202)
  })

  test('any bytes under any headers: an answer below 500, and nothing is taken without the secret', async () => {
    const before = (await api.database.query(`select id from webhook_deliveries where verdict = 'received'`)).length
    const header = fc.constantFrom(
      'content-type',
      'x-github-event',
      'x-github-delivery',
      'x-hub-signature-256',
      'x-gitlab-token',
      'content-encoding',
      'origin',
    )
    const value = fc.stringMatching(/^[\x20-\x7e\x80-\xff]{0,80}$/)
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), fc.dictionary(header, value, { maxKeys: 5 }), async (bytes, headers) => {
        const { status } = await postRaw(hook.url, { ...headers, 'x-forwarded-for': anAddress() }, Buffer.from(bytes))
        expect(status).toBeGreaterThanOrEqual(400)
        expect(status).toBeLessThan(500)
      }),
      { numRuns: 120 },
    )
    expect(await api.database.query(`select id from webhook_deliveries where verdict = 'received'`)).toHaveLength(before)
  })

  test('any JSON with the right signature: an answer below 500, and what is stored can be read', async () => {
    const json = fc.oneof(
      fc.json({ maxDepth: 4 }),
      fc.object({ maxDepth: 3 }).map((more) => JSON.stringify({ ...githubPush(), ...more })),
    )
    await fc.assert(
      fc.asyncProperty(json, fc.constantFrom('push', 'ping', 'pull_request', 'x\u0000y'), async (body, event) => {
        const headers = { ...hook.headers(body, event.replace('\u0000', '\u00ff')), 'x-forwarded-for': anAddress() }
        expect((await postRaw(hook.url, headers, body)).status).toBeLessThan(500)
      }),
      { numRuns: 120 },
    )
    expect((await api.call('GET', `/v1/webhooks/${hook.id}/deliveries?limit=200`)).status).toBe(200)
  })
})

describe('managing', () => {
  test('the secret is in the answer that made it and nowhere else (I8)', async () => {
    const { body } = await api.call(
      'POST',
      '/v1/webhooks',
      { service: 'web', provider: 'github', apiToken: 'ghp_0123456789' },
      { 'idempotency-key': 'make' },
    )
    expect(body.secret).toMatch(/^[\w-]{43}$/)
    const again = await api.call(
      'POST',
      '/v1/webhooks',
      { service: 'web', provider: 'github', apiToken: 'ghp_0123456789' },
      { 'idempotency-key': 'make' },
    )
    expect(again.body).toMatchObject({ webhook: { id: body.webhook.id }, secret: '' })
    for (const table of ['webhooks', 'idempotency_keys', 'audit_log', 'events', 'webhook_deliveries']) {
      const text = JSON.stringify(await api.database.query(`select t::text as row from ${table} t`))
      expect(text).not.toContain(body.secret)
      expect(text).not.toContain('ghp_0123456789')
    }
    expect(body.webhook).toMatchObject({ hasApiToken: true, url: `${api.url}/hooks/${body.webhook.id}` })
  })

  test('two secrets hold while one is being rotated, and each delivery says which was used', async () => {
    const other = await HookClient.create(api, 'web')
    const rotated = await api.call('POST', `/v1/webhooks/${other.id}/rotate`, { overlapSeconds: 3600 })
    expect(rotated.body.webhook.previousSecretUntil).not.toBeNull()
    const old = await other.send({ ...githubPush(), n: randomUUID() })
    const fresh = await other.send({ ...githubPush(), n: randomUUID() }, { secret: rotated.body.secret })
    expect([old.status, fresh.status]).toEqual([202, 202])
    expect((await deliveries(other.id)).map(({ usedPreviousSecret }: { usedPreviousSecret: boolean }) => usedPreviousSecret)).toEqual([
      false,
      true,
    ])
    await api.call('POST', `/v1/webhooks/${other.id}/rotate`, { overlapSeconds: 0 })
    expect((await other.send({ ...githubPush(), n: randomUUID() }, { secret: rotated.body.secret })).status).toBe(401)
  })

  test('a test goes through the network and says whether it came in', async () => {
    expect((await api.call('POST', `/v1/webhooks/${hook.id}/test`)).body).toMatchObject({ accepted: true, status: 200 })
    const lost = await startApi({ publicUrl: 'http://127.0.0.1:9' })
    const other = await HookClient.create(lost, 'web')
    expect((await lost.call('POST', `/v1/webhooks/${other.id}/test`)).body).toMatchObject({
      accepted: false,
      status: null,
      url: `http://127.0.0.1:9/hooks/${other.id}`,
    })
    await lost.stop()
  })

  test('a webhook needs a repository: named, or where the service came from', async () => {
    const answer = await api.call('POST', '/v1/webhooks', { service: 'nowhere', provider: 'github' })
    expect(answer).toMatchObject({ status: 400, body: { hint: expect.stringContaining('--repository') } })
    expect((await api.call('POST', '/v1/webhooks', { service: 'web', provider: 'github', repository: '--upload-pack=x' })).status).toBe(422)
  })

  test('I9: a cursor that is none is refused, one that is goes on', async () => {
    const cursor = Buffer.from('hook_\0').toString('base64url')
    expect((await api.call('GET', `/v1/webhooks?cursor=${cursor}`)).status).toBe(400)
    const first = await api.call('GET', '/v1/webhooks?limit=1')
    const rest = await api.call('GET', `/v1/webhooks?limit=200&cursor=${first.body.next}`)
    const all = await api.call('GET', '/v1/webhooks?limit=200')
    expect([...first.body.items, ...rest.body.items]).toEqual(all.body.items)
  })

  test('deleted, it is unknown', async () => {
    const other = await HookClient.create(api, 'web', { provider: 'gitea' })
    expect((await api.call('DELETE', `/v1/webhooks/${other.id}`)).status).toBe(204)
    expect((await api.call('GET', `/v1/webhooks/${other.id}`)).status).toBe(404)
  })
})
