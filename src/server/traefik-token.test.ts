import { mkdir, mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { removeTree } from '../core/remove-tree.ts'
import { openTraefikToken } from './traefik-token.ts'

let data: string
beforeEach(async () => {
  data = await mkdtemp(join(tmpdir(), 'shiplock-traefik-'))
})
afterEach(() => removeTree(data))

async function servedBefore() {
  await mkdir(join(data, 'edge'))
  await writeFile(join(data, 'edge', 'table.json'), '{}')
}

test('a new directory gets a token, and nobody is answered without it', async () => {
  const { token, untilShown } = await openTraefikToken(data, true)
  expect(token).toMatch(/^[0-9a-f]{64}$/)
  expect(untilShown).toBe(null)
  expect((await readFile(join(data, 'traefik-token'), 'utf8')).trim()).toBe(token)
  expect(await openTraefikToken(data, true)).toEqual({ token, untilShown: null })
})

test('one that served before there was a token goes on answering without it until it is shown, over restarts', async () => {
  await servedBefore()
  const first = await openTraefikToken(data, true)
  const second = await openTraefikToken(data, true)
  expect(second.token).toBe(first.token)
  expect(second.untilShown).not.toBe(null)
  second.untilShown?.shown()
  await expect.poll(async () => (await openTraefikToken(data, true)).untilShown).toBe(null)
})

test('beyond loopback it was always asked for', async () => {
  await servedBefore()
  expect((await openTraefikToken(data, false)).untilShown).toBe(null)
})
