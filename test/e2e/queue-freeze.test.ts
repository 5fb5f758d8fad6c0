import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { findFreeze, freeze, listFreezes, unfreeze } from '../../src/store/sql/freezes.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

let world: World
beforeEach(async () => {
  world = await createWorld({ slots: 2 })
})
afterEach(() => world.close())

const WANTED = { reason: 'holidays', until: null, by: 'ada' }

describe('a freeze', () => {
  test('of an environment holds that one, of a project all of its own, and nothing of another project (I10)', async () => {
    const shop = await world.service('app', 'shop')
    const other = await world.service('app', 'other')
    await world.database.transaction((tx) => freeze(tx, shop, WANTED))
    expect(await findFreeze(world.database, shop.environmentId)).toMatchObject({
      reason: 'holidays',
      environment: 'production',
      until: null,
    })
    expect(await findFreeze(world.database, other.environmentId)).toBeNull()
    await world.database.transaction((tx) => freeze(tx, { projectId: other.projectId, environmentId: null }, WANTED))
    expect(await findFreeze(world.database, other.environmentId)).toMatchObject({ project: 'other', environment: null })
    expect(await listFreezes(world.database, null)).toHaveLength(2)
    expect(await listFreezes(world.database, 'shop')).toHaveLength(1)
  })

  test('ends by the clock of the database', async () => {
    const { projectId, environmentId } = await world.service()
    const [soon] = await world.database.query<{ at: string }>(`select now() + interval '400 milliseconds' as at`)
    await world.database.transaction((tx) => freeze(tx, { projectId, environmentId }, { ...WANTED, until: soon?.at ?? null }))
    expect(await findFreeze(world.database, environmentId)).not.toBeNull()
    await eventually(async () => expect(await findFreeze(world.database, environmentId)).toBeNull())
    expect(await world.database.transaction((tx) => unfreeze(tx, { projectId, environmentId }, 'ada'))).toBe(false)
  })

  test('of the same scope replaces the one before; the log has both, and the end', async () => {
    const { projectId, environmentId } = await world.service()
    const scope = { projectId, environmentId }
    await world.database.transaction((tx) => freeze(tx, scope, WANTED))
    await world.database.transaction((tx) => freeze(tx, scope, { ...WANTED, reason: 'longer holidays' }))
    expect((await listFreezes(world.database, null)).map(({ reason }) => reason)).toEqual(['longer holidays'])
    expect(await world.database.transaction((tx) => unfreeze(tx, scope, 'ada'))).toBe(true)
    expect(await listFreezes(world.database, null)).toEqual([])
    expect((await world.events()).map(({ type }) => type)).toEqual(['environment.frozen', 'environment.frozen', 'environment.unfrozen'])
  })

  test('that would end before it begins is refused', async () => {
    const { projectId, environmentId } = await world.service()
    const past = { ...WANTED, until: '2020-01-01T00:00:00Z' }
    await expect(world.database.transaction((tx) => freeze(tx, { projectId, environmentId }, past))).rejects.toThrow()
  })
})
