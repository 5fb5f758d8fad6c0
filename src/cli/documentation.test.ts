import { readFile } from 'node:fs/promises'
import { describe, expect, test } from 'vitest'
import { fillTables } from '../config/documentation.ts'
import { ERRORS, EXIT_CODES } from '../core/errors.ts'
import { documentTables, errorsDocument } from './documentation.ts'
import { EXIT_CODE_MEANINGS } from './program.ts'

const docs = (name: string) => new URL(`../../docs/${name}`, import.meta.url).pathname

/** All are rewritten by `npx vitest run src/cli/documentation.test.ts -u`. */
describe('documents that are printed from the code', () => {
  test('docs/errors.md is the table of errors', async () => {
    await expect(errorsDocument()).toMatchFileSnapshot(docs('errors.md'))
  })

  test.each(Object.entries(documentTables()))('docs/%s has the tables of the code', async (name, tables) => {
    await expect(fillTables(await readFile(docs(name), 'utf8'), tables)).toMatchFileSnapshot(docs(name))
  })

  test('every exit code of the error table is one of the documented ones', () => {
    const known = new Set<number>(Object.values(EXIT_CODES))
    for (const [code, info] of Object.entries(ERRORS)) expect(known.has(info.exit), code).toBe(true)
    expect(Object.keys(EXIT_CODE_MEANINGS)).toEqual(Object.keys(EXIT_CODES))
  })
})
