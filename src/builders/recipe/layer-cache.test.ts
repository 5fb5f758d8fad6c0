import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { LIMITS } from '../../core/limits.ts'
import { LayerCache } from './layer-cache.ts'
import type { LayerParts } from './layer-key.ts'
import { LayerStore } from './layer-store.ts'

const PARTS: LayerParts = { os: null, base: [], prepareCommands: [], cache: ['deps'], toolchains: [], variables: '' }
const FILES = 60
let root: string
let count = 0
const { signal } = new AbortController()
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
const cacheOf = (parts: Partial<LayerParts> = {}) => new LayerCache(join(root, 'cache'), { ...PARTS, ...parts })

test('builds that replace the layer while others read it: each gets one whole layer, a miss, or is told', async () => {
  await cacheOf().preserve(source('generation 0'), signal)
  let generation = 0
  const write = async () => {
    for (let round = 0; round < 8; round++) await cacheOf().preserve(source(`generation ${++generation}`), signal)
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
  expect((await cacheOf().restore(source(null)))?.line).toBe('build layer: miss (nothing was kept yet)')
  await cacheOf().preserve(source('x'), signal)
  const names = readdirSync(layers)
  expect(names).toContain('young.incoming')
  expect(names).not.toContain('dead.incoming')
})

test.each([
  ['build.os', { os: 'debian' }],
  ['build.base', { base: ['nodejs@22'] }],
  ['build.prepareCommands', { prepareCommands: ['true'] }],
  ['build.cache', { cache: ['deps', 'more'] }],
  ['a toolchain of the host', { toolchains: ['nodejs 22.1.0'] }],
] as const)('a change of %s drops the layer and is named', async (name, change) => {
  await cacheOf().preserve(source('x'), signal)
  expect((await cacheOf(change).restore(source(null)))?.line).toBe(`build layer: miss (${name} changed)`)
  await cacheOf(change).preserve(source('y'), signal)
  expect((await cacheOf().restore(source(null)))?.line).toContain('miss')
})

test('clearing forgets it; without a list there is none', async () => {
  await cacheOf().preserve(source('x'), signal)
  expect((await cacheOf().restore(source(null)))?.line).toContain(`hit, ${FILES} files`)
  await new LayerStore(join(root, 'cache', 'layers')).clear()
  expect((await cacheOf().restore(source(null)))?.line).toContain('miss (nothing was kept yet)')
  expect(await cacheOf({ cache: [] }).restore(source(null))).toBeNull()
  expect(await cacheOf({ cache: [] }).preserve(source('x'), signal)).toBeNull()
})

test('permissions and times come back: a compiler that compares ages finds outputs older than the sources of the next build', async () => {
  const first = source(null)
  writeFileSync(join(first, 'deps', 'out.o'), 'object', { mode: 0o640 })
  utimesSync(join(first, 'deps', 'out.o'), 1_600_000_000, 1_600_000_000)
  await cacheOf().preserve(first, signal)
  const second = source(null)
  await cacheOf().restore(second)
  const { mtimeMs, mode } = statSync(join(second, 'deps', 'out.o'))
  expect([mtimeMs, mode & 0o777]).toEqual([1_600_000_000_000, 0o640])
})

test('a layer that is damaged is as good as none', async () => {
  await cacheOf().preserve(source('x'), signal)
  const layers = join(root, 'cache', 'layers')
  const [name = ''] = readdirSync(layers)
  writeFileSync(join(layers, name, 'about.json'), '{"half')
  expect((await cacheOf().restore(source(null)))?.line).toBe('build layer: miss (nothing was kept yet)')
  await cacheOf().preserve(source('y'), signal)
  expect((await cacheOf().restore(source(null)))?.line).toContain('hit')
})
