import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { buildTables } from './documentation.ts'

const DOCUMENT = new URL('../../../docs/builds.md', import.meta.url).pathname

/** Rewritten by `npx vitest run src/builders/recipe/documentation.test.ts -u`. */
test('the tables in docs/builds.md are those of the code', async () => {
  let text = await readFile(DOCUMENT, 'utf8')
  for (const [name, table] of Object.entries(buildTables())) {
    const [begin, end] = [`<!-- ${name} -->`, `<!-- /${name} -->`]
    expect(text, `docs/builds.md has ${begin} … ${end}`).toContain(begin)
    text = `${text.slice(0, text.indexOf(begin) + begin.length)}\n${table}\n${text.slice(text.indexOf(end))}`
  }
  await expect(text).toMatchFileSnapshot(DOCUMENT)
})

test('every cause has one suggestion, and no group of a pattern is left in the words', () => {
  const { causes = '' } = buildTables()
  for (const row of causes.split('\n').filter((line) => line.startsWith('| '))) expect(row).toMatch(/^\| .+ \| .+ \|$/)
  expect(causes).not.toMatch(/\$\d/)
})
