import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { diagrams } from './diagrams.ts'

const DOCUMENT = new URL('../../ARCHITECTURE.md', import.meta.url).pathname

/** Rewritten by `npx vitest run src/domain/diagrams.test.ts -u`. */
it('the diagrams of ARCHITECTURE.md are those of the tables', async () => {
  let wanted = readFileSync(DOCUMENT, 'utf8')
  for (const [name, text] of Object.entries(diagrams())) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
    expect(wanted, `ARCHITECTURE.md lacks ${begin}`).toContain(begin)
    wanted = `${wanted.slice(0, wanted.indexOf(begin) + begin.length)}\n${text}\n${wanted.slice(wanted.indexOf(end))}`
  }
  await expect(wanted).toMatchFileSnapshot(DOCUMENT)
})
