import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RuntimeLayers } from '../../src/builders/runtime-layers.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { reap } from '../../src/engine/reaper.ts'
import { listNeededTrees } from '../../src/store/sql/releases.ts'
import { createWorld, type World } from '../support/engine-world.ts'

let world: World
beforeEach(async () => {
  world = await createWorld()
})
afterEach(() => world.close())

/** Only what the reaper asks for. */
function layersOf(serviceEnvironmentId: string, ids: Record<string, number>, removed: string[]): RuntimeLayers {
  const list = async () =>
    Object.entries(ids).map(([id, ageMs]) => {
      const at = new Date(Date.now() - ageMs).toISOString()
      return { serviceEnvironmentId, id, bytes: 1, madeAt: at, usedAt: at }
    })
  return { list, remove: async (_: string, id: string) => void removed.push(id) } as unknown as RuntimeLayers
}

test('a runtime layer stays while a kept release needs it, or for a day after its last use', async () => {
  const app = await world.service()
  const server = await world.server().start()
  world.commit('one')
  await world.live(app, 'one')
  await world.database.query(
    `update releases set artifact = artifact || '{"runtimeLayer":"needed","prepareFiles":"sha256:files"}' where service_environment_id = $1`,
    [app.id],
  )
  const old = LIMITS.runtimeLayerIdleMs + 60_000
  const removed: string[] = []
  const runtimeLayers = layersOf(app.id, { needed: old, idle: old, young: 1000 }, removed)
  const engine = { ...server.engine, drivers: { ...server.engine.drivers, runtimeLayers } }
  await reap(engine)
  expect(removed).toEqual(['idle'])
  expect(await listNeededTrees(world.database)).toContain('sha256:files')
  await world.database.query('update releases set deleted_at = now() where service_environment_id = $1', [app.id])
  await world.database.query(`update deployments set settled = true where service_environment_id = $1`, [app.id])
  await reap(engine)
  expect(removed).toEqual(['idle', 'needed', 'idle'])
})
