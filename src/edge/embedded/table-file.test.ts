import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import { EMPTY_LEDGER, type Ledger, listRoutes, removeRoute, swapRoute } from '../route-ledger.ts'
import { TableFile } from './table-file.ts'

let directory: string
let file: TableFile

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'shiplock-table-'))
  file = new TableFile(directory)
})
afterEach(() => {
  rmSync(directory, { recursive: true })
})

function swapped(ledger: Ledger, port: number): Ledger {
  const targets = [{ instanceId: 'ins_a' as InstanceId, host: '127.0.0.1', port }]
  return swapRoute(ledger, {
    routeId: 'sen_a' as ServiceEnvironmentId,
    hosts: ['a.localhost'],
    pathPrefix: '',
    targets,
    fence: 1,
    ifGeneration: null,
  }).ledger
}

test('what was written is restored, tombstones too', async () => {
  const ledger = removeRoute(swapped(EMPTY_LEDGER, 80), 'sen_gone' as ServiceEnvironmentId, 7).ledger
  await file.write(ledger)
  expect(await file.restore()).toEqual({ ledger, warning: null })
  expect(readdirSync(directory)).toEqual(['table.json'])
})

test('nothing there is an empty table without a warning', async () => {
  expect(await file.restore()).toEqual({ ledger: EMPTY_LEDGER, warning: null })
})

test.each([
  ['cut short', (text: string) => text.slice(0, -3)],
  ['empty', () => ''],
  ['with one byte changed', (text: string) => text.replace('"port":81', '"port":82')],
  ['without its checksum', (text: string) => text.slice(65)],
])('a table %s is passed over for the previous one, and that is said', async (_name, damage) => {
  const first = swapped(EMPTY_LEDGER, 80)
  await file.write(first)
  await file.write(swapped(first, 81))
  const path = join(directory, 'table.json')
  writeFileSync(path, damage(readFileSync(path, 'utf8')))
  const { ledger, warning } = await file.restore()
  expect(listRoutes(ledger)).toEqual(listRoutes(first))
  expect(warning).toMatch(/table\.json is damaged.*previous table \(version 1\) is used/)
})

test('two damaged tables are an empty table and a warning that names both', async () => {
  for (const name of ['table.json', 'table.previous.json']) writeFileSync(join(directory, name), 'x')
  const { ledger, warning } = await file.restore()
  expect(ledger).toEqual(EMPTY_LEDGER)
  expect(warning).toMatch(/table\.json.*table\.previous\.json.*starting without routes/)
})

test('a crash between the two renames leaves the previous table, which was the last one acknowledged', async () => {
  const ledger = swapped(EMPTY_LEDGER, 80)
  await file.write(ledger)
  writeFileSync(join(directory, 'table.previous.json'), readFileSync(join(directory, 'table.json')))
  rmSync(join(directory, 'table.json'))
  expect(await file.restore()).toEqual({ ledger, warning: null })
})

test('a temporary file that a crash left does not matter', async () => {
  const ledger = swapped(EMPTY_LEDGER, 80)
  await file.write(ledger)
  writeFileSync(join(directory, 'table.json.tmp'), 'half')
  expect((await file.restore()).ledger).toEqual(ledger)
  await file.write(swapped(ledger, 81))
  expect((await file.restore()).warning).toBeNull()
})
