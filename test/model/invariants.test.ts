import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = new URL('../..', import.meta.url).pathname

/** Every promise of docs/invariants.md is held by at least one test that names it. */
describe('invariants', () => {
  const sources = ['src', 'test'].flatMap((folder) => testFiles(join(ROOT, folder))).map((file) => readFileSync(file, 'utf8'))
  const ids = [...readFileSync(join(ROOT, 'docs/invariants.md'), 'utf8').matchAll(/^\| (I\d+)\s+\|/gm)].map((match) => match[1])

  it('are fifteen', () => expect(ids).toHaveLength(15))

  for (const id of ids) {
    it(`titles begin with ${id}`, () => {
      const title = new RegExp(`(?:it|test|describe)(?:\\.each\\([^)]*\\))?\\(\\s*[\`'"](?:I\\d+, )*${id}(?:, I\\d+)*: `)
      expect(sources.filter((text) => title.test(text)).length).toBeGreaterThan(0)
    })
  }
})

function testFiles(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return testFiles(path)
    return /(\.test|-suite)\.ts$/.test(entry.name) ? [path] : []
  })
}
