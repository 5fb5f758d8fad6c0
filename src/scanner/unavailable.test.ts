import { expect, test } from 'vitest'
import type { Digest } from '../domain/ids.ts'
import type { ScanConfig } from '../domain/service-config.ts'
import { createUnavailableScanner } from './unavailable.ts'

const CONFIG: ScanConfig = { enabled: true, high: 'warn', critical: 'block', ignoreUnfixed: false, waivers: [], onScannerFailure: 'warn' }
const artifact = { kind: 'tree', digest: `sha256:${'0'.repeat(64)}` as Digest, files: 1, bytes: 1 } as const

async function scan(config: Partial<ScanConfig>) {
  const lines: string[] = []
  const scanner = createUnavailableScanner('trivy is not in PATH')
  const verdict = await scanner.scan({
    artifact,
    artifactDirectory: null,
    config: { ...CONFIG, ...config },
    onLine: (line) => void lines.push(line),
    signal: new AbortController().signal,
  })
  expect(lines).toEqual([verdict.note])
  return verdict
}

test('by policy warn the artifact goes on, and nothing calls it clean', async () => {
  expect(await scan({})).toMatchObject({
    outcome: 'unknown',
    note: 'warning: the artifact was not scanned: trivy is not in PATH',
    critical: 0,
  })
})

test('by policy fail it is blocked, with the reason', async () => {
  expect(await scan({ onScannerFailure: 'fail' })).toMatchObject({
    outcome: 'blocked',
    note: expect.stringContaining('trivy is not in PATH'),
  })
})

test('a service that does not want scans is skipped, whatever the policy', async () => {
  expect(await scan({ enabled: false, onScannerFailure: 'fail' })).toMatchObject({ outcome: 'skipped' })
})

test('the check says what is missing', async () => {
  expect(await createUnavailableScanner('trivy is not in PATH').check(new AbortController().signal)).toEqual({
    ok: false,
    summary: 'no vulnerability scanner: trivy is not in PATH',
  })
})
