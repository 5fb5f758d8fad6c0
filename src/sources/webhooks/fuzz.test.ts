import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { WebhookEvent } from '../../domain/push.ts'
import type { WebhookHeaders } from './webhook.ts'
import { createWebhooks } from './webhooks.ts'

const NOW = Date.parse('2026-05-19T12:00:00Z')
const webhooks = Object.values(createWebhooks({ now: () => NOW }))
const webhook = fc.constantFrom(...webhooks)
const fixture = (name: string): unknown => JSON.parse(readFileSync(new URL(`payloads/${name}.json`, import.meta.url), 'utf8'))

const PAYLOADS = [
  ['github', 'push', 'github-push'],
  ['github', 'ping', 'github-ping'],
  ['github', 'pull_request', 'github-pull-request'],
  ['gitea', 'push', 'gitea-push'],
  ['gitea', 'pull_request', 'gitea-pull-request'],
  ['gitlab', 'push', 'gitlab-push'],
  ['gitlab', 'push', 'gitlab-tag'],
  ['gitlab', 'merge_request', 'gitlab-merge-request'],
] as const
const EVENT_HEADERS = ['x-github-event', 'x-gitea-event', 'x-gitlab-event']

const HEADER_NAMES = [
  ...EVENT_HEADERS,
  'content-type',
  'x-github-delivery',
  'x-gitea-delivery',
  'idempotency-key',
  'x-gitlab-event-uuid',
  'x-hub-signature-256',
  'x-gitea-signature',
  'x-forgejo-signature',
  'x-gogs-signature',
  'x-gitlab-token',
  'webhook-id',
  'webhook-timestamp',
  'webhook-signature',
]
const hexDigest = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => Buffer.from(bytes).toString('hex'))
const headerValue = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 80 }),
  hexDigest,
  hexDigest.map((digest) => `sha256=${digest}`),
  hexDigest.map((digest) => `v1,${Buffer.from(digest, 'hex').toString('base64')}`),
  fc.constantFrom('', 'push', 'ping', 'pull_request', 'application/json', String(NOW / 1000)),
)
const headers: fc.Arbitrary<WebhookHeaders> = fc.dictionary(
  fc.constantFrom(...HEADER_NAMES),
  fc.oneof({ weight: 5, arbitrary: headerValue }, fc.array(headerValue, { maxLength: 3 }), fc.constant(undefined)),
)
const body = fc.oneof(
  fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.json({ maxDepth: 5 }).map((text) => Buffer.from(text)),
)
const secret = fc.oneof(
  fc.string({ minLength: 8, maxLength: 40 }).filter((text) => text.trim() !== ''),
  fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => `whsec_${Buffer.from(bytes).toString('base64')}`),
)

describe('verify', () => {
  test('never throws, and never accepts what was not made with one of the secrets', () => {
    fc.assert(
      fc.property(webhook, headers, body, fc.array(secret, { maxLength: 3 }), (provider, someHeaders, rawBody, secrets) => {
        // A header that happens to be the secret itself would be no forgery.
        fc.pre(!secrets.some((text) => JSON.stringify(someHeaders).includes(JSON.stringify(text).slice(1, -1))))
        const verdict = provider.verify({ headers: someHeaders, rawBody, secrets })
        expect(verdict.isAccepted).toBe(false)
        if (!verdict.isAccepted) expect(verdict.reason.length * verdict.hint.length).toBeGreaterThan(0)
      }),
      { numRuns: 500 },
    )
  })

  test('accepts exactly what was signed: no other secret, and for signatures no other body', () => {
    fc.assert(
      fc.property(webhook, secret, secret, body, fc.nat(), (provider, ours, theirs, rawBody, place) => {
        fc.pre(ours !== theirs)
        const signed = provider.sign({ id: 'delivery-1', event: 'push', rawBody, secret: ours })
        expect(provider.verify({ headers: signed, rawBody, secrets: [theirs, ours] })).toEqual({ isAccepted: true, secret: 1 })
        expect(provider.verify({ headers: signed, rawBody, secrets: [theirs] }).isAccepted).toBe(false)
        const isBodySigned = signed['X-Gitlab-Token'] === undefined
        if (!isBodySigned || rawBody.length === 0) return
        const changed = Buffer.from(rawBody)
        const at = place % changed.length
        changed[at] = (changed[at] ?? 0) ^ 1
        expect(provider.verify({ headers: signed, rawBody: changed, secrets: [ours] }).isAccepted).toBe(false)
      }),
      { numRuns: 300 },
    )
  })

  test('any change of one character in a signature header is refused', () => {
    fc.assert(
      fc.property(
        webhook,
        secret,
        body,
        fc.nat(),
        fc.string({ minLength: 1, maxLength: 1 }),
        (provider, ours, rawBody, place, replacement) => {
          const signed = provider.sign({ id: 'delivery-1', event: 'push', rawBody, secret: ours })
          const name = Object.keys(signed).find((key) => /signature|token/i.test(key)) ?? ''
          const value = signed[name] ?? ''
          const at = place % value.length
          const forged = value.slice(0, at) + replacement + value.slice(at + 1)
          const isSameHex = name !== 'X-Gitlab-Token' && forged.toLowerCase() === value.toLowerCase() && !name.startsWith('webhook')
          fc.pre(forged !== value && !isSameHex)
          expect(provider.verify({ headers: { ...signed, [name]: forged }, rawBody, secrets: [ours] }).isAccepted).toBe(false)
        },
      ),
      { numRuns: 500 },
    )
  })
})

function parseSafely(provider: (typeof webhooks)[number], someHeaders: WebhookHeaders, rawBody: Buffer): WebhookEvent | null {
  try {
    return provider.parse(someHeaders, rawBody)
  } catch (error) {
    expect(error).toBeInstanceOf(ShiplockError)
    expect(error).toMatchObject({
      code: expect.stringMatching(/^(INPUT_INVALID|MEDIA_TYPE_UNSUPPORTED)$/),
      message: expect.stringMatching(/^webhook: [\x20-\x7e]{1,200}$/),
    })
    return null
  }
}

const LONGEST = Math.max(LIMITS.webhookTextCharacters, LIMITS.webhookMessageCharacters, LIMITS.webhookPathCharacters)
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must be absent
const HARMFUL = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]/u

/** I9: every text of an event, wherever it stands. */
function expectHarmless(value: unknown, key = ''): void {
  if (typeof value === 'string') {
    expect(value).not.toMatch(HARMFUL)
    if (key !== 'message') expect(value).not.toMatch(/[\n\t]/)
    expect(value.length).toBeLessThanOrEqual(LONGEST + 60)
  } else if (Array.isArray(value)) for (const item of value) expectHarmless(item, key)
  else if (typeof value === 'object' && value !== null) for (const [name, item] of Object.entries(value)) expectHarmless(item, name)
}

const HOSTILE = [
  '\u001b[2J\u001b[1;1Hroot@host# ',
  '\u001b]0;owned\u0007',
  '\u001b]8;;https://evil.example\u0007click\u001b]8;;\u0007',
  '\u009b31m',
  'line\nbreak\r\nINFO deployment succeeded',
  '\u202egnp.exe',
  '\u2028\u2029',
  'nul\u0000byte',
  '\ud800 lone',
  '`$(rm -rf /)`; $HOME && | > /dev/sda',
  "'; drop table deployments; --",
  '<script>alert(1)</script>',
  '../../etc/passwd',
  '--upload-pack=touch /tmp/x',
  'ext::sh -c touch% /tmp/x',
  'https://user:hunter2@git.example/a.git?token=hunter2#hunter2',
  '%s%n%x{{7*7}}',
  '💥'.repeat(2000),
  'x'.repeat(100_000),
  '__proto__',
  '',
]
const hostileText = fc.oneof(fc.constantFrom(...HOSTILE), fc.string({ unit: 'binary', maxLength: 60 }))
const anyValue = fc.oneof({ weight: 3, arbitrary: hostileText }, fc.jsonValue({ maxDepth: 2 }), fc.constant(undefined))

/** Every place in a payload: the path of keys to each member. */
function placesOf(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  if (typeof value !== 'object' || value === null) return [path]
  return [...(path.length === 0 ? [] : [path]), ...Object.entries(value).flatMap(([key, item]) => placesOf(item, [...path, key]))]
}

function replaced(value: unknown, path: readonly string[], by: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return by
  if (Array.isArray(value)) return value.map((item, index) => (String(index) === key ? replaced(item, rest, by) : item))
  const members = Object.entries(value as Record<string, unknown>)
  return Object.fromEntries(members.map(([name, item]) => (name === key ? [name, replaced(item, rest, by)] : [name, item])))
}

describe('parse', () => {
  test('never throws anything but a clear refusal, whatever comes', () => {
    fc.assert(
      fc.property(webhook, headers, body, (provider, someHeaders, rawBody) => {
        expectHarmless(parseSafely(provider, someHeaders, rawBody))
        expectHarmless(provider.identify(someHeaders, rawBody))
      }),
      { numRuns: 500 },
    )
  })

  test.each(PAYLOADS)('I9: %s %s: anything in any place is refused or made harmless (%s)', (name, event, file) => {
    const provider = createWebhooks({ now: () => NOW })[name]
    const payload = fixture(file)
    const eventHeaders = Object.fromEntries(EVENT_HEADERS.map((header) => [header, event]))
    const place = fc.constantFrom(...placesOf(payload))
    fc.assert(
      fc.property(fc.array(fc.tuple(place, anyValue), { minLength: 1, maxLength: 3 }), (changes) => {
        let changed = payload
        for (const [path, value] of changes) {
          if (placesOf(changed).some((known) => known.join('\n') === path.join('\n'))) changed = replaced(changed, path, value)
        }
        expectHarmless(parseSafely(provider, eventHeaders, Buffer.from(JSON.stringify(changed) ?? '')))
      }),
      { numRuns: 150 },
    )
  })

  test.each(PAYLOADS)('%s %s: every hostile text in every place (%s)', (name, event, file) => {
    const provider = createWebhooks({ now: () => NOW })[name]
    const payload = fixture(file)
    const eventHeaders = Object.fromEntries(EVENT_HEADERS.map((header) => [header, event]))
    // All at once would be slow; each place gets three texts, and each text many places.
    for (const [index, path] of placesOf(payload).entries()) {
      for (const step of [0, 7, 14]) {
        const changed = replaced(payload, path, HOSTILE[(index + step) % HOSTILE.length])
        expectHarmless(parseSafely(provider, eventHeaders, Buffer.from(JSON.stringify(changed))))
      }
    }
  })

  test('a payload cut anywhere is refused', () => {
    const whole = Buffer.from(JSON.stringify(fixture('github-push')))
    for (let length = 0; length < whole.length; length += 97) {
      expect(parseSafely(webhooks[0] as (typeof webhooks)[number], { 'x-github-event': 'push' }, whole.subarray(0, length))).toBeNull()
    }
  })
})

describe('names are used as they are or not at all', () => {
  const push = (ref: string) =>
    createWebhooks({ now: () => NOW }).github.parse(
      { 'x-github-event': 'push' },
      Buffer.from(JSON.stringify({ ...(fixture('github-push') as object), ref: `refs/heads/${ref}` })),
    )

  test('a branch that only looks like main is ignored, not taken for it', () => {
    for (const ref of [
      'ma\u001b[31min',
      '\u200bmain',
      'main\u0000',
      'main\n',
      'm\u202eain',
      'main\ufeff',
      '\ud800main',
      'x'.repeat(5000),
    ]) {
      expect(push(ref)).toMatchObject({ kind: 'ignored', reason: expect.stringContaining('control characters') })
    }
  })

  test('other scripts, emoji and slashes stay', () => {
    for (const name of ['feature/ünïcode', '修正', 'fix/👩‍🚒', 'a/b/c', 'refs/heads/main', '-dash', "it's"]) {
      expect(push(name)).toMatchObject({ ref: { name } })
    }
  })

  test('I8: addresses lose user, password, query and fragment', () => {
    const payload = fixture('github-push') as { repository: object }
    const clone_url = 'https://user:hunter2@git.example/a.git?token=hunter2#hunter2'
    const body = Buffer.from(
      JSON.stringify({ ...payload, repository: { ...payload.repository, clone_url, ssh_url: 'ext::sh', html_url: 'javascript:1' } }),
    )
    const event = createWebhooks({ now: () => NOW }).github.parse({ 'x-github-event': 'push' }, body)
    expect(event).toMatchObject({ repository: { urls: ['https://git.example/a.git'] } })
    expect(JSON.stringify(event)).not.toContain('hunter2')
  })
})
