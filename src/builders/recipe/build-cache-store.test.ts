import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../core/log.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import { createBuildCaches } from './build-cache-store.ts'
import type { LayerParts } from './layer-key.ts'
import { LayerStore } from './layer-store.ts'

const PARTS: LayerParts = { os: null, base: [], prepareCommands: [], cache: ['deps'], toolchains: [], variables: '' }
const A = 'sen_a' as ServiceEnvironmentId
const B = 'sen_b' as ServiceEnvironmentId
let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'shiplock-caches-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

const cachesOf = (bytesMax: number) => createBuildCaches({ directory: root, bytesMax, logger: silentLogger })

/** A layer of that size which was used so many seconds ago. */
async function layer(id: ServiceEnvironmentId, kind: 'base' | 'layers', bytes: number, ageSeconds: number): Promise<void> {
  await new LayerStore(join(root, id, kind)).put(PARTS, async (tree) => {
    mkdirSync(tree)
    writeFileSync(join(tree, 'file'), Buffer.alloc(bytes))
    return { files: 1, bytes }
  })
  const at = Date.now() / 1000 - ageSeconds
  for (const name of readdirSync(join(root, id, kind))) utimesSync(join(root, id, kind, name, 'about.json'), at, at)
}

function tools(id: ServiceEnvironmentId, bytes: number): void {
  mkdirSync(join(root, id, 'tools', 'npm'), { recursive: true })
  writeFileSync(join(root, id, 'tools', 'npm', 'blob'), Buffer.alloc(bytes, 1))
}

const shown = async (caches: ReturnType<typeof cachesOf>) =>
  (await caches.list()).map((entry) => `${entry.serviceEnvironmentId} ${entry.layer}`).sort()

test('lists every layer of every service with its size', async () => {
  await layer(A, 'base', 1000, 10)
  await layer(B, 'layers', 2000, 5)
  tools(B, 300_000)
  const entries = await cachesOf(1e9).list()
  expect(entries.map(({ serviceEnvironmentId, layer, bytes }) => [serviceEnvironmentId, layer, bytes >= 300_000 ? 'much' : bytes])).toEqual(
    [
      [A, 'base', 1000],
      [B, 'build', 2000],
      [B, 'tools', 'much'],
    ],
  )
  for (const { usedAt, madeAt } of entries) expect(Date.parse(usedAt) + Date.parse(madeAt)).not.toBeNaN()
})

test('I12: over the budget, what was used longest ago goes first, whichever service it is of', async () => {
  await layer(A, 'base', 4000, 300)
  await layer(A, 'layers', 4000, 100)
  await layer(B, 'base', 4000, 200)
  const caches = cachesOf(8000)
  const dropped = await caches.trim()
  expect(dropped.map((entry) => [entry.serviceEnvironmentId, entry.layer])).toEqual([[A, 'base']])
  expect(await shown(caches)).toEqual([`${A} build`, `${B} base`])
  expect(await caches.trim()).toEqual([])
})

test('a hit makes a layer young again', async () => {
  await layer(A, 'layers', 4000, 300)
  await layer(B, 'layers', 4000, 100)
  await new LayerStore(join(root, A, 'layers')).find(PARTS)
  const caches = cachesOf(4000)
  await caches.trim()
  expect(await shown(caches)).toEqual([`${A} build`])
})

test('tool caches that a running build has open stay, and go with its end', async () => {
  tools(A, 500_000)
  const caches = cachesOf(1000)
  const hold = caches.hold(A)
  expect(await caches.trim()).toEqual([])
  await expect(caches.clear(A, 'all')).rejects.toMatchObject({ code: 'CONFLICT' })
  await hold.release()
  expect(await caches.list()).toEqual([])
})

test('each layer is cleared alone, or all together; a build that runs meanwhile is told', async () => {
  await layer(A, 'base', 1000, 10)
  await layer(A, 'layers', 2000, 10)
  await layer(B, 'base', 4000, 10)
  tools(A, 10_000)
  const caches = cachesOf(1e9)
  const hold = caches.hold(A)
  expect(hold.wasCleared).toBe(false)
  expect(await caches.clear(A, 'base')).toBe(1000)
  expect(hold.wasCleared).toBe(true)
  expect(await shown(caches)).toEqual([`${A} build`, `${A} tools`, `${B} base`])
  await hold.release()
  expect(await caches.clear(A, 'all')).toBeGreaterThan(2000)
  expect(await shown(caches)).toEqual([`${B} base`])
  expect(await caches.clear(A, 'all')).toBe(0)
})
