import { describe, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { outcomeOf, outcomeOfFailure } from './send-outcome.ts'
import { statusRequest } from './status-request.ts'

const NOW = Date.parse('2026-11-21T12:00:00Z')
const answer = (status: number, headers: Record<string, string> = {}, text = '') => ({ status, headers, text })

describe('what an answer means', () => {
  test.each([200, 201, 202, 204])('%d: sent', (status) => expect(outcomeOf(answer(status), 1, NOW)).toEqual({ kind: 'sent' }))
  test.each([301, 400, 401, 403, 404, 410, 422])('%d: given up', (status) =>
    expect(outcomeOf(answer(status), 1, NOW).kind).toBe('given-up'),
  )
  test.each([408, 425, 429, 500, 502, 503, 504])('%d: again', (status) => expect(outcomeOf(answer(status), 1, NOW).kind).toBe('again'))

  test('the pause grows, and is bounded', () => {
    const pauses = [1, 2, 3, 4, 11].map((attempts) => (outcomeOf(answer(500), attempts, NOW) as { inMs: number }).inMs)
    expect(pauses).toEqual([2000, 4000, 8000, 16_000, LIMITS.outboxBackoffMaxMs])
    expect(outcomeOf(answer(500), LIMITS.outboxAttempts, NOW).kind).toBe('given-up')
  })

  test.each([
    ['seconds', { 'retry-after': '90' }, 90_000],
    ['a date', { 'retry-after': 'Sat, 21 Nov 2026 12:05:00 GMT' }, 300_000],
    ['more than is waited', { 'retry-after': '999999' }, LIMITS.outboxRetryAfterMaxMs],
    ['nonsense', { 'retry-after': 'soon' }, 2000],
    ['GitHub’s quota', { 'x-ratelimit-remaining': '0', 'x-ratelimit-reset': String(NOW / 1000 + 60) }, 60_000],
  ])('Retry-After: %s', (_, headers, inMs) => expect(outcomeOf(answer(429, headers), 1, NOW)).toMatchObject({ kind: 'again', inMs }))

  test('GitHub’s quota comes as 403', () => {
    expect(outcomeOf(answer(403, { 'retry-after': '60' }), 1, NOW)).toMatchObject({ kind: 'again', inMs: 60_000 })
  })

  test('I9: what the receiver said is kept printable and short', () => {
    const { error } = outcomeOf(answer(400, {}, `\u001b[2J${'x'.repeat(5000)}`), 1, NOW) as { error: string }
    expect(error).toMatch(/^HTTP 400: x{100,200}$/)
    expect(outcomeOfFailure(new Error('connect ECONNREFUSED'), 1)).toMatchObject({ kind: 'again', error: 'connect ECONNREFUSED' })
  })
})

describe('where a status goes', () => {
  const told = {
    provider: 'github',
    repository: '',
    apiUrl: null,
    sha: 'a'.repeat(40),
    status: 'success',
    description: '',
    environment: 'e',
    service: 's',
  } as const
  test.each([
    ['https://github.com/acme/api.git', 'github', 'https://api.github.com/repos/acme/api/statuses/'],
    ['git@github.com:acme/api.git', 'github', 'https://api.github.com/repos/acme/api/statuses/'],
    ['https://ghe.example.com/acme/api', 'github', 'https://ghe.example.com/api/v3/repos/acme/api/statuses/'],
    ['https://gitlab.com/a/b/c.git', 'gitlab', 'https://gitlab.com/api/v4/projects/a%2Fb%2Fc/statuses/'],
    ['ssh://git@codeberg.org/acme/api.git', 'gitea', 'https://codeberg.org/api/v1/repos/acme/api/statuses/'],
  ] as const)('%s', (repository, provider, url) => {
    expect(statusRequest({ ...told, repository, provider }, 't', null)?.url).toBe(`${url}${told.sha}`)
  })

  test.each(['file:///srv/repo', 'https://github.com/', 'https://github.com/only', ''])('%s names none', (repository) => {
    expect(statusRequest({ ...told, repository }, 't', null)).toBeNull()
  })
})
