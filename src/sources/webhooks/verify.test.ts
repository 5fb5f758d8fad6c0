import { createHmac } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { giteaWebhook } from './gitea.ts'
import { githubWebhook } from './github.ts'
import { verifyHexSignatures } from './hex-signature.ts'
import type { Verdict, WebhookHeaders } from './webhook.ts'

// The vector of GitHub's documentation, "Validating webhook deliveries".
const SECRET = "It's a Secret to Everybody"
const BODY = Buffer.from('Hello, World!')
const DIGEST = '757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'

const github = (headers: WebhookHeaders, secrets: readonly string[] = [SECRET], rawBody = BODY) =>
  githubWebhook.verify({ headers, rawBody, secrets })
const gitea = (headers: WebhookHeaders, secrets: readonly string[] = [SECRET], rawBody = BODY) =>
  giteaWebhook.verify({ headers, rawBody, secrets })
const codeOf = (verdict: Verdict) => (verdict.isAccepted ? 'accepted' : verdict.code)
const hex = (secret: string, body: Buffer) => createHmac('sha256', secret).update(body).digest('hex')

describe('github', () => {
  test('accepts the published test vector', () => {
    expect(github({ 'x-hub-signature-256': `sha256=${DIGEST}` })).toEqual({ isAccepted: true, secret: 0 })
  })

  test('reads the header whatever its case, and hex digits in either case', () => {
    expect(codeOf(github({ 'X-HUB-SIGNATURE-256': `sha256=${DIGEST}` }))).toBe('accepted')
    expect(codeOf(github({ 'x-hub-signature-256': `sha256=${DIGEST.toUpperCase()}` }))).toBe('accepted')
    expect(codeOf(github({ 'x-hub-signature-256': [`sha256=${DIGEST}`] }))).toBe('accepted')
  })

  test.each([
    ['another secret', { 'x-hub-signature-256': `sha256=${hex('other', BODY)}` }, 'mismatch'],
    ['no header', {}, 'unsigned'],
    ['an empty header', { 'x-hub-signature-256': '' }, 'unsigned'],
    ['only the old SHA-1 header', { 'x-hub-signature': 'sha1=7d38cdd689735b008b3c702edd92eea23791c5f6' }, 'unsigned'],
    ['the prefix of SHA-1', { 'x-hub-signature-256': `sha1=${DIGEST}` }, 'malformed'],
    ['no prefix', { 'x-hub-signature-256': DIGEST }, 'malformed'],
    ['the prefix in another case', { 'x-hub-signature-256': `SHA256=${DIGEST}` }, 'malformed'],
    ['a digit too few', { 'x-hub-signature-256': `sha256=${DIGEST.slice(1)}` }, 'malformed'],
    ['a digit too many', { 'x-hub-signature-256': `sha256=${DIGEST}0` }, 'malformed'],
    // What Gitea sends where no secret was entered.
    ['no digits', { 'x-hub-signature-256': 'sha256=' }, 'unsigned'],
    ['a letter that is no digit', { 'x-hub-signature-256': `sha256=${DIGEST.slice(1)}g` }, 'malformed'],
    ['a line break at the end', { 'x-hub-signature-256': `sha256=${DIGEST}\n` }, 'malformed'],
    ['base64', { 'x-hub-signature-256': `sha256=${Buffer.from(DIGEST, 'hex').toString('base64')}` }, 'malformed'],
    ['two headers, both right', { 'x-hub-signature-256': [`sha256=${DIGEST}`, `sha256=${DIGEST}`] }, 'malformed'],
    ['two headers, joined', { 'x-hub-signature-256': `sha256=${DIGEST}, sha256=${DIGEST}` }, 'malformed'],
    ['two headers in different case', { 'x-hub-signature-256': 'sha256=00', 'X-Hub-Signature-256': `sha256=${DIGEST}` }, 'malformed'],
  ])('refuses %s', (_, headers, code) => {
    expect(codeOf(github(headers))).toBe(code)
  })

  test('a form whose signature does not cover it is said to be one, whatever the secret', () => {
    const headers = { 'x-hub-signature-256': `sha256=${DIGEST}`, 'content-type': 'application/x-www-form-urlencoded' }
    const verdict = verifyHexSignatures(
      { headers, rawBody: Buffer.from(`payload=${encodeURIComponent(BODY.toString())}`), secrets: [SECRET] },
      [{ name: 'X-Hub-Signature-256', prefix: 'sha256=' }],
      'Gitea',
    )
    expect(verdict).toMatchObject({ isAccepted: false, code: 'mismatch', reason: expect.stringContaining('form-encoded') })
  })

  test('refuses everything while no secret is set, also a body signed with the empty one', () => {
    const headers = { 'x-hub-signature-256': `sha256=${hex('', BODY)}` }
    for (const secrets of [[], [''], ['', '  '], ['\n']]) expect(codeOf(github(headers, secrets))).toBe('no-secret')
    expect(codeOf(github(headers, ['', SECRET]))).toBe('mismatch')
  })

  test('two secrets hold while rotating, and the verdict says which was used', () => {
    const headers = { 'x-hub-signature-256': `sha256=${DIGEST}` }
    expect(github(headers, [SECRET, 'old'])).toEqual({ isAccepted: true, secret: 0 })
    expect(github(headers, ['new', SECRET])).toEqual({ isAccepted: true, secret: 1 })
    expect(github(headers, ['', SECRET])).toEqual({ isAccepted: true, secret: 1 })
  })

  test('an empty body is a body', () => {
    const empty = Buffer.alloc(0)
    expect(codeOf(github({ 'x-hub-signature-256': `sha256=${hex(SECRET, empty)}` }, [SECRET], empty))).toBe('accepted')
    expect(codeOf(github({ 'x-hub-signature-256': `sha256=${DIGEST}` }, [SECRET], empty))).toBe('mismatch')
  })

  test('I12: a body above the limit is refused before it is hashed', () => {
    const rawBody = Buffer.alloc(LIMITS.webhookBodyBytes + 1)
    expect(codeOf(github({ 'x-hub-signature-256': `sha256=${DIGEST}` }, [SECRET], rawBody))).toBe('too-large')
  })

  test('I8: a refusal holds neither secret nor what was sent', () => {
    const verdict = JSON.stringify(github({ 'x-hub-signature-256': `sha256=${hex('other', BODY)}` }))
    expect(verdict).not.toContain('Secret to Everybody')
    expect(verdict).not.toContain(hex('other', BODY))
  })
})

describe('gitea, forgejo, gogs', () => {
  test.each(['X-Gitea-Signature', 'X-Forgejo-Signature', 'X-Gogs-Signature'])('accepts bare hex in %s', (name) => {
    expect(gitea({ [name]: DIGEST })).toEqual({ isAccepted: true, secret: 0 })
    expect(codeOf(gitea({ [name]: DIGEST.toUpperCase() }))).toBe('accepted')
    expect(codeOf(gitea({ [name]: `sha256=${DIGEST}` }))).toBe('malformed')
  })

  test('accepts the set of headers that Forgejo sends', () => {
    const headers = {
      'x-forgejo-signature': DIGEST,
      'x-gitea-signature': DIGEST,
      'x-gogs-signature': DIGEST,
      'x-hub-signature': `sha1=${'0'.repeat(40)}`,
      'x-hub-signature-256': `sha256=${DIGEST}`,
    }
    expect(gitea(headers, ['new', SECRET])).toEqual({ isAccepted: true, secret: 1 })
  })

  test('a bad signature is not rescued by a good one in another header', () => {
    const bad = hex('other', BODY)
    expect(codeOf(gitea({ 'x-forgejo-signature': bad, 'x-gitea-signature': DIGEST }))).toBe('mismatch')
    expect(codeOf(gitea({ 'x-forgejo-signature': DIGEST, 'x-hub-signature-256': `sha256=${bad}` }))).toBe('mismatch')
    expect(codeOf(gitea({ 'x-gitea-signature': DIGEST, 'x-gogs-signature': 'x' }))).toBe('malformed')
  })

  test('a host without a secret sends an empty signature, which is none', () => {
    expect(codeOf(gitea({ 'x-gitea-signature': '', 'x-gogs-signature': '' }))).toBe('unsigned')
    expect(codeOf(gitea({ 'x-gitea-signature': '' }, ['']))).toBe('no-secret')
  })
})
