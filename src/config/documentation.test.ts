import { readFile } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { documentationTables, fillTables } from './documentation.ts'
import { manifestJsonSchema, manifestJsonSchemaText } from './manifest/json-schema.ts'

const DOCUMENT = new URL('../../docs/configuration.md', import.meta.url).pathname
const SCHEMA = new URL('../../schema/shiplock.schema.json', import.meta.url).pathname

/** Both are rewritten by `npx vitest run src/config/documentation.test.ts -u`. */
describe('what is published', () => {
  it('has tables in docs/configuration.md that are those of the code', async () => {
    await expect(fillTables(await readFile(DOCUMENT, 'utf8'), documentationTables())).toMatchFileSnapshot(DOCUMENT)
  })

  it('has a JSON Schema that is the one of the code', async () => {
    await expect(manifestJsonSchemaText()).toMatchFileSnapshot(SCHEMA)
  })

  it('describes every key in the document', () => {
    for (const row of documentationTables()
      .keys?.split('\n')
      .filter((line) => line.startsWith('| `')) ?? [])
      expect(row).not.toMatch(/\|\s+\|$/)
  })

  it('refuses a document without a marker', () => {
    expect(() => fillTables('nothing here', { keys: '' })).toThrow('<!-- keys -->')
  })
})

describe('the JSON Schema', () => {
  it('allows x- keys in every section and no other unknown key', () => {
    const sections: Record<string, unknown>[] = []
    const walk = (node: unknown): void => {
      if (node === null || typeof node !== 'object') return
      const schema = node as Record<string, unknown>
      if (schema.type === 'object' && schema.properties !== undefined) sections.push(schema)
      Object.values(schema).forEach(walk)
    }
    walk(manifestJsonSchema())
    expect(sections.length).toBeGreaterThan(8)
    for (const section of sections) expect(section).toMatchObject({ additionalProperties: false, patternProperties: { '^x-': {} } })
  })
})
