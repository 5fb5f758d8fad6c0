import { readFileSync, writeFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { diagrams } from './diagrams.ts'

const FILE = new URL('../../ARCHITECTURE.md', import.meta.url)

it('the diagrams of ARCHITECTURE.md are those of the tables', () => {
  const document = readFileSync(FILE, 'utf8')
  let wanted = document
  for (const [name, text] of Object.entries(diagrams())) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
    expect(document, `ARCHITECTURE.md lacks ${begin}`).toContain(begin)
    wanted = `${wanted.slice(0, wanted.indexOf(begin) + begin.length)}\n${text}\n${wanted.slice(wanted.indexOf(end))}`
  }
  if (process.env.UPDATE_DOCS === '1') writeFileSync(FILE, wanted)
  else expect(document).toBe(wanted)
})
