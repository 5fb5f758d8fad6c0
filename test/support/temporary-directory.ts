import { mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'

/** A fresh directory that is gone when the test ends. */
export function temporaryDirectory(name = 'shiplock-test'): string {
  const directory = mkdtempSync(join(tmpdir(), `${name}-`))
  onTestFinished(() => removeTree(directory))
  return directory
}
