import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { STATUSES } from '../domain/deployment-machine.ts'
import { fillTables } from './documentation.ts'
import { lifecycleTables } from './lifecycle-tables.ts'

const DOCUMENT = new URL('../../docs/lifecycle.md', import.meta.url).pathname

/** Rewritten by `npx vitest run src/config/lifecycle-tables.test.ts -u`. */
test('the tables of docs/lifecycle.md are those of the code', async () => {
  await expect(fillTables(await readFile(DOCUMENT, 'utf8'), lifecycleTables())).toMatchFileSnapshot(DOCUMENT)
})

test('every status has its row, and what begins with a number has its unit', () => {
  const { statuses = '', limits = '', defaults = '' } = lifecycleTables()
  for (const status of STATUSES) expect(statuses).toContain(`| \`${status}\` |`)
  expect(limits).toContain('| 60 min |')
  expect(limits).toContain('| 30 s |')
  expect(defaults).toContain('| `deploy.bake` | `30s` |')
})
