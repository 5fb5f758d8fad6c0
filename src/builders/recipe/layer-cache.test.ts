import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import type { RecipeBuild } from '../../domain/service-config.ts'
import { clearLayerCache, LayerCache } from './layer-cache.ts'

const RECIPE: RecipeBuild = {
  kind: 'recipe',
  base: [],
  os: null,
  prepareCommands: [],
  buildCommands: [],
  deployFiles: ['.'],
  cache: ['deps'],
  addToRunPrepare: [],
  env: {},
  timeoutMs: 1000,
}
const FILES = 60
let root: string
let count = 0
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'shiplock-layers-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

function source(content: string | null): string {
  const directory = join(root, `source${count++}`)
  mkdirSync(join(directory, 'deps'), { recursive: true })
  if (content !== null) for (let file = 0; file < FILES; file++) writeFileSync(join(directory, 'deps', `f${file}`), content)
  return directory
}
const contents = (directory: string) =>
  readdirSync(join(directory, 'deps')).map((name) => readFileSync(join(directory, 'deps', name), 'utf8'))
const cacheOf = (recipe: Partial<RecipeBuild> = {}) => new LayerCache(join(root, 'cache'), { ...RECIPE, ...recipe })

test('builds that replace the layer while others read it: each gets one whole layer, a miss, or is told', async () => {
  await cacheOf().preserve(source('generation 0'))
  let generation = 0
  const write = async () => {
    for (let round = 0; round < 8; round++) await cacheOf().preserve(source(`generation ${++generation}`))
  }
  let whole = 0
  const read = async () => {
    for (let round = 0; round < 12; round++) {
      const target = source(null)
      const report = await cacheOf().restore(target)
      if (report?.intact !== true || report.line.includes('miss')) continue
      const restored = contents(target)
      expect([restored.length, new Set(restored).size]).toEqual([FILES, 1])
      whole += 1
    }
  }
  await Promise.all([write(), write(), read(), read()])
  expect(whole).toBeGreaterThan(0)
  expect(readdirSync(join(root, 'cache', 'layers')).filter((name) => name.endsWith('.incoming'))).toEqual([])
})

test('what a killed build left is neither read nor kept for ever', async () => {
  const layers = join(root, 'cache', 'layers')
  mkdirSync(join(layers, 'dead.incoming', 'deps'), { recursive: true })
  mkdirSync(join(layers, 'young.incoming', 'deps'), { recursive: true })
  const longAgo = (Date.now() - LIMITS.buildHardTimeoutMs - 60_000) / 1000
  utimesSync(join(layers, 'dead.incoming'), longAgo, longAgo)
  expect((await cacheOf().restore(source(null)))?.line).toBe('cache: miss (nothing was kept yet)')
  await cacheOf().preserve(source('x'))
  const names = readdirSync(layers)
  expect(names).toContain('young.incoming')
  expect(names).not.toContain('dead.incoming')
})

test.each([
  ['os', { os: 'debian' }],
  ['base', { base: ['nodejs@22'] }],
  ['prepareCommands', { prepareCommands: ['true'] }],
  ['cache', { cache: ['deps', 'more'] }],
] as const)('a change of %s drops the layer', async (_, change) => {
  await cacheOf().preserve(source('x'))
  expect((await cacheOf(change).restore(source(null)))?.line).toContain('miss (build.os, base')
  await cacheOf(change).preserve(source('y'))
  expect((await cacheOf().restore(source(null)))?.line).toContain('miss')
})

test('a change of the build commands keeps it; clearing forgets it; without a list there is none', async () => {
  await cacheOf().preserve(source('x'))
  expect((await cacheOf({ buildCommands: ['other'] }).restore(source(null)))?.line).toContain(`hit, ${FILES} files`)
  await clearLayerCache(join(root, 'cache'))
  expect((await cacheOf().restore(source(null)))?.line).toContain('miss (nothing was kept yet)')
  expect(await cacheOf({ cache: [] }).restore(source(null))).toBeNull()
  expect(await cacheOf({ cache: [] }).preserve(source('x'))).toBeNull()
})
