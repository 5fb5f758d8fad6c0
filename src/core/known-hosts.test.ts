import { createHash } from 'node:crypto'
import { expect, test } from 'vitest'
import { PUBLISHED_HOST_KEYS } from './known-hosts.ts'

/** As the hosts print them: docs.github.com (GitHub's SSH key fingerprints), docs.gitlab.com (SSH host keys fingerprints). */
const FINGERPRINTS: Readonly<Record<string, readonly string[]>> = {
  'github.com': ['SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU', 'SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM'],
  'gitlab.com': ['SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8'],
}

test('the pinned keys of well-known hosts have the fingerprints that those hosts publish', () => {
  const found = new Map<string, string[]>()
  for (const { host, line } of PUBLISHED_HOST_KEYS) {
    const key = line.split(' ')[2] ?? ''
    const digest = createHash('sha256').update(Buffer.from(key, 'base64')).digest('base64').replace(/=+$/, '')
    found.set(host, [...(found.get(host) ?? []), `SHA256:${digest}`])
  }
  expect(Object.fromEntries(found)).toEqual(FINGERPRINTS)
})
