import { expect, test } from 'vitest'
import type { Digest } from '../domain/ids.ts'
import { createUnavailableScanner } from './unavailable.ts'

const scanner = createUnavailableScanner('trivy is not in PATH')

test('what is missing is said before a build, by the check, and by every scan', async () => {
  expect(await scanner.missing()).toBe('trivy is not in PATH')
  expect(await scanner.check(new AbortController().signal)).toEqual({
    ok: false,
    summary: 'no vulnerability scanner: trivy is not in PATH',
    hint: null,
  })
  const request = {
    artifact: { kind: 'tree', digest: `sha256:${'0'.repeat(64)}` as Digest, files: 1, bytes: 1 } as const,
    artifactDirectory: null,
    layerDirectory: null,
    workDirectory: '/nowhere',
    onLine: () => {},
    signal: new AbortController().signal,
  }
  await expect(scanner.scan(request)).rejects.toMatchObject({ code: 'SCANNER_FAILED', message: 'trivy is not in PATH' })
})

test('without a word from the owner an image needs a scan and a file tree does not', () => {
  expect(scanner.rules.onFailure).toEqual({ image: 'fail', tree: 'warn' })
})
