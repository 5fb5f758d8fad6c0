import { expect, test } from 'vitest'
import type { Digest } from '../domain/ids.ts'
import { createLocalRegistry } from './local.ts'

test('publishing to no registry is success, with a note and without a reference', async () => {
  const lines: string[] = []
  const digest = `sha256:${'ab'.repeat(32)}` as Digest
  const published = await createLocalRegistry().publish({
    artifact: { kind: 'tree', digest, files: 1, bytes: 1 },
    repository: 'project/service',
    onLine: (line) => void lines.push(line),
    signal: new AbortController().signal,
  })
  expect(published).toEqual({
    reference: null,
    note: 'no registry is configured: sha256:abababababab is kept in the artifact store of this server',
  })
  expect(lines).toEqual([published.note])
})
