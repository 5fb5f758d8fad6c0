import { readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { checkLayers, forbiddenImports, LAYERS, layerTable } from '../../scripts/layers.mjs'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const AGENTS = `${ROOT}AGENTS.md`

test('no file imports what the layer table does not allow', () => {
  expect(checkLayers(ROOT)).toEqual([])
})

test('a folder that the table does not name is refused, even if it imports nothing', () => {
  expect(forbiddenImports('gateway/ssh.ts', 'export const PORT = 2222\n')).toEqual([
    'src/gateway/ssh.ts: gateway/ is not named in scripts/layers.mjs: say there what it may import',
  ])
})

test.each([
  ['engine/worker.ts', "import { startServer } from '../server/start-server.ts'"],
  ['domain/plan.ts', "import { readFile } from '../core/exec.ts'"],
  ['domain/plan.ts', "import { z } from 'zod'"],
  ['contract/route.ts', "import { Hono } from 'hono'"],
  ['stages/fetch.ts', "import { GitSource } from '../sources/git.ts'"],
  ['builders/recipe/recipe.ts', "import { Bubblewrap } from '../../sandbox/bubblewrap.ts'"],
  ['api/sse.ts', "import type { Worker } from '../engine/worker.ts'"],
  ['engine/commands/deploy.ts', "import { Worker } from '../worker.ts'"],
  ['engine/commands/deploy.ts', "import type { Edge } from '../../edge/edge.ts'"],
  ['api/routes/scale.ts', "import { Scaler } from '../../engine/scaler.ts'"],
  ['core/exec.ts', "const late = await import('../store/database.ts')"],
  ['core/exec.ts', "export { open } from '../store/database.ts'"],
])('%s may not hold %s', (file, line) => {
  expect(forbiddenImports(file, line)).toHaveLength(1)
})

test.each([
  ['stages/fetch.ts', "import type { Source } from '../sources/source.ts'"],
  ['api/routes/scale.ts', "import { scale } from '../../engine/commands/scale.ts'"],
  ['server/open-engine.ts', "import { GitSource } from '../sources/git.ts'"],
  ['contract/route.ts', "import { z } from 'zod'"],
  ['engine/worker.ts', "import { setTimeout } from 'node:timers/promises'"],
])('%s may hold %s', (file, line) => {
  expect(forbiddenImports(file, line)).toEqual([])
})

test('every folder that the table names is there', () => {
  const folders = readdirSync(`${ROOT}src`, { withFileTypes: true }).filter((entry) => entry.isDirectory())
  expect(
    Object.keys(LAYERS)
      .filter((name) => !name.includes('/'))
      .toSorted(),
  ).toEqual(folders.map((entry) => entry.name).toSorted())
})

/** Rewritten by `npx vitest run test/model/layers.test.ts -u`. */
test('the layer table of AGENTS.md is that of scripts/layers.mjs', async () => {
  const [begin, end] = ['<!-- layers -->', '<!-- /layers -->']
  const text = readFileSync(AGENTS, 'utf8')
  const wanted = `${text.slice(0, text.indexOf(begin) + begin.length)}\n${layerTable()}\n${text.slice(text.indexOf(end))}`
  await expect(wanted).toMatchFileSnapshot(AGENTS)
})
