import { createHmac, randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { gitlabWebhook } from './gitlab.ts'
import type { Verdict, WebhookHeaders } from './webhook.ts'

const NOW = Date.parse('2026-05-19T12:00:00Z')
const BODY = Buffer.from('{"object_kind":"push"}')
const webhook = gitlabWebhook({ now: () => NOW })
const verify = (headers: WebhookHeaders, secrets: readonly string[], rawBody = BODY) => webhook.verify({ headers, rawBody, secrets })
const codeOf = (verdict: Verdict) => (verdict.isAccepted ? 'accepted' : verdict.code)

describe('the secret token', () => {
  test('is accepted when it is one of the secrets', () => {
    expect(verify({ 'x-gitlab-token': 'tide-table' }, ['tide-table'])).toEqual({ isAccepted: true, secret: 0 })
    expect(verify({ 'X-Gitlab-Token': 'tide-table' }, ['new', 'tide-table'])).toEqual({ isAccepted: true, secret: 1 })
  })

  test.each([
    ['another', { 'x-gitlab-token': 'tide-tablf' }, 'mismatch'],
    ['a shorter one', { 'x-gitlab-token': 'tide-tabl' }, 'mismatch'],
    ['a longer one', { 'x-gitlab-token': 'tide-table ' }, 'mismatch'],
    ['one in another case', { 'x-gitlab-token': 'Tide-Table' }, 'mismatch'],
    ['two of them joined', { 'x-gitlab-token': 'tide-table, tide-table' }, 'mismatch'],
    ['two headers', { 'x-gitlab-token': ['tide-table', 'tide-table'] }, 'malformed'],
    ['none', {}, 'unsigned'],
    ['an empty one', { 'x-gitlab-token': '' }, 'unsigned'],
  ])('is refused when it is %s', (_, headers, code) => {
    expect(codeOf(verify(headers, ['tide-table']))).toBe(code)
  })

  test('an empty one does not open a webhook without a secret', () => {
    expect(codeOf(verify({ 'x-gitlab-token': '' }, []))).toBe('no-secret')
    expect(codeOf(verify({ 'x-gitlab-token': '' }, ['']))).toBe('no-secret')
    expect(codeOf(verify({ 'x-gitlab-token': ' ' }, [' ']))).toBe('no-secret')
  })

  test('with other than ASCII characters arrives as UTF-8 read as latin1', () => {
    const secret = 'Gezeiten-Schlüssel-潮'
    expect(codeOf(verify({ 'x-gitlab-token': Buffer.from(secret).toString('latin1') }, [secret]))).toBe('accepted')
  })
})

describe('the signing token', () => {
  const key = randomBytes(32)
  const secret = `whsec_${key.toString('base64')}`
  const seconds = NOW / 1000
  const digest = (id: string, at: number | string, body = BODY, by: Buffer = key) =>
    createHmac('sha256', by).update(`${id}.${at}.`).update(body).digest('base64')
  const signed = (at: number, more: WebhookHeaders = {}): WebhookHeaders => ({
    'webhook-id': 'b0a7-1',
    'webhook-timestamp': String(at),
    'webhook-signature': `v1,${digest('b0a7-1', at)}`,
    ...more,
  })

  test('signs id, time and body', () => {
    expect(verify(signed(seconds), [secret])).toEqual({ isAccepted: true, secret: 0 })
    expect(verify(signed(seconds), [`whsec_${randomBytes(32).toString('base64')}`, 'plain', secret])).toEqual({
      isAccepted: true,
      secret: 2,
    })
    expect(codeOf(verify(signed(seconds), [secret], Buffer.from('{"object_kind":"tag_push"}')))).toBe('mismatch')
    expect(codeOf(verify(signed(seconds, { 'webhook-id': 'b0a7-2' }), [secret]))).toBe('mismatch')
    expect(codeOf(verify(signed(seconds, { 'webhook-timestamp': String(seconds + 1) }), [secret]))).toBe('mismatch')
  })

  test('accepts the example that the Standard Webhooks libraries test with', () => {
    const then = gitlabWebhook({ now: () => 1_614_265_330_000 })
    const headers = {
      'webhook-id': 'msg_p5jXN8AQM9LWM0D4loKWxJek',
      'webhook-timestamp': '1614265330',
      'webhook-signature': 'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=',
    }
    const verdict = then.verify({
      headers,
      rawBody: Buffer.from('{"test": 2432232314}'),
      secrets: ['whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'],
    })
    expect(verdict).toEqual({ isAccepted: true, secret: 0 })
  })

  test('holds for five minutes either way, by the injected clock', () => {
    const tolerance = LIMITS.webhookToleranceMs / 1000
    for (const at of [seconds - tolerance, seconds + tolerance]) expect(codeOf(verify(signed(at), [secret]))).toBe('accepted')
    for (const at of [seconds - tolerance - 1, seconds + tolerance + 1, 0]) expect(codeOf(verify(signed(at), [secret]))).toBe('stale')
  })

  test('a forged request is not told that its time is wrong', () => {
    expect(codeOf(verify(signed(1, { 'webhook-signature': `v1,${digest('x', 1)}` }), [secret]))).toBe('mismatch')
  })

  test('one of several signatures is enough; other versions are passed over', () => {
    const good = digest('b0a7-1', seconds)
    const other = digest('b0a7-1', seconds, BODY, randomBytes(32))
    const withSignature = (value: string) => codeOf(verify(signed(seconds, { 'webhook-signature': value }), [secret]))
    expect(withSignature(`v1,${other} v1,${good}`)).toBe('accepted')
    expect(withSignature(`v1a,${other} v1,${good}`)).toBe('accepted')
    expect(withSignature(`v1a,${good}`)).toBe('malformed')
    expect(
      withSignature(
        Array(LIMITS.webhookSignatures + 1)
          .fill(`v1,${good}`)
          .join(' '),
      ),
    ).toBe('malformed')
  })

  test.each([
    ['no base64', { 'webhook-signature': 'v1,!!' }],
    ['a short digest', { 'webhook-signature': 'v1,AAAA' }],
    ['no version', { 'webhook-signature': digest('b0a7-1', NOW / 1000) }],
    ['no id', { 'webhook-id': undefined }],
    ['no time', { 'webhook-timestamp': '' }],
    ['a time that is no number', { 'webhook-timestamp': '1e9' }],
    ['a negative time', { 'webhook-timestamp': '-1' }],
    ['two times', { 'webhook-timestamp': [String(NOW / 1000), String(NOW / 1000)] }],
    ['an id with a dot', { 'webhook-id': 'a.b' }],
  ])('refuses %s as malformed', (_, change) => {
    expect(codeOf(verify(signed(seconds, change), [secret]))).toBe('malformed')
  })

  test('a right secret token does not rescue a wrong signature', () => {
    const headers = signed(seconds, { 'webhook-signature': `v1,${digest('x', 1)}`, 'x-gitlab-token': 'plain' })
    expect(codeOf(verify(headers, [secret, 'plain']))).toBe('mismatch')
  })

  test('a host that is still being changed over is believed by its secret token', () => {
    expect(verify({ 'x-gitlab-token': 'plain' }, [secret, 'plain'])).toEqual({ isAccepted: true, secret: 1 })
    expect(verify(signed(seconds, { 'x-gitlab-token': 'plain' }), ['plain'])).toEqual({ isAccepted: true, secret: 0 })
  })

  test('I8: is never accepted as a secret token, which would put it on the wire', () => {
    const verdict = verify({ 'x-gitlab-token': secret }, [secret])
    expect(verdict).toMatchObject({ isAccepted: false, code: 'unsigned', hint: expect.stringContaining('Signing token') })
    expect(verify(signed(seconds), ['plain'])).toMatchObject({ code: 'unsigned', hint: expect.stringContaining('whsec_') })
  })

  test('a secret that only looks like one is a secret token', () => {
    for (const plain of ['whsec_', 'whsec_short', 'whsec_AAAA', 'whsec_!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!!']) {
      expect(codeOf(verify({ 'x-gitlab-token': plain }, [plain]))).toBe('accepted')
    }
  })
})
