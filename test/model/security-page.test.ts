import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'

const ROOT = new URL('../..', import.meta.url).pathname
const COLUMNS = 4

/** Every threat of docs/security.md names what holds and the test files that show it. */
describe('docs/security.md', () => {
  const page = readFileSync(join(ROOT, 'docs/security.md'), 'utf8')
  const rows = threats(page)

  it('has a table of threats', () => expect(rows.length).toBeGreaterThan(10))

  it.each(rows)('%s: %s', (who, tries, holds, tests) => {
    for (const cell of [who, tries, holds]) expect(cell).not.toBe('')
    const files = [...tests.matchAll(/`([^`]+)`/g)].map((match) => match[1] ?? '')
    expect(files.length).toBeGreaterThan(0)
    for (const file of files) {
      expect(file).toMatch(/(\.test|-suite)\.ts$/)
      expect(existsSync(join(ROOT, file)), `${file} is there`).toBe(true)
    }
  })

  it('is linked from where people look', () => {
    for (const file of ['README.md', 'AGENTS.md', 'docs/access.md', 'docs/operations.md']) {
      expect(readFileSync(join(ROOT, file), 'utf8'), file).toContain('security.md')
    }
  })
})

type Threat = [who: string, tries: string, holds: string, tests: string]

function threats(page: string): Threat[] {
  const table = /<!-- threats -->\n([\s\S]*?)<!-- \/threats -->/.exec(page)?.[1] ?? ''
  const lines = table
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .slice(2)
  return lines.map((line) => {
    const cells = line
      .slice(1, -1)
      .split('|')
      .map((cell) => cell.trim())
    if (cells.length !== COLUMNS) throw new Error(`not ${COLUMNS} cells: ${line}`)
    return cells as Threat
  })
}
