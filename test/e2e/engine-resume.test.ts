import { describe, expect, test } from 'vitest'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import type { ConfigChanges } from '../support/engine-config.ts'
import { killEverywhere, type Scenario } from '../support/engine-crash-matrix.ts'
import type { World } from '../support/engine-world.ts'
import { deploymentOf } from '../support/engine-world.ts'

/** What the traffic goes to, by the commit that the release was built from. */
async function servedRef(world: World, target: ServiceEnvironment): Promise<string | null> {
  const [row] = await world.database.query<{ ref: string }>(
    `select r.revision->>'ref' as ref from service_environments se join deployments d on d.id = se.live_deployment_id
       join releases r on r.id = d.release_id where se.id = $1`,
    [target.id],
  )
  return row?.ref ?? null
}

const live =
  (changes: ConfigChanges = {}) =>
  async (world: World, target: ServiceEnvironment) => {
    world.commit('old', changes)
    await world.live(target, 'old')
  }

const SCENARIOS: Scenario[] = [
  {
    name: 'a first deployment with a release command and two instances',
    prepare: async (world) => world.commit('new', { run: { instances: 2 }, deploy: { releaseCommand: 'migrate' } }),
    begin: (world, target) => world.deploy(target, 'new'),
    check: async (world, target, ended) => {
      expect(ended.status).toBe('running')
      expect(await servedRef(world, target)).toBe('new')
      expect(world.running()).toHaveLength(2)
      for (const task of world.host.tasks.values()) expect(task.runs).toBe(1)
    },
  },
  {
    name: 'a deployment over a live one',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new')
      return world.deploy(target, 'new')
    },
    check: async (world, target, ended) => {
      expect(ended.status).toBe('running')
      expect(await servedRef(world, target)).toBe('new')
      expect((await world.instances(target)).map((instance) => instance.state).sort()).toEqual(['serving', 'standby'])
    },
  },
  {
    name: 'a deployment that never becomes ready, with a replacement',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new', { readiness: { attempts: 2 } })
      const deployment = await world.deploy(target, 'new')
      world.unready.add(deployment.id)
      return deployment
    },
    check: async (world, target, ended) => {
      expect(ended).toMatchObject({ status: 'failed', error: { code: 'NOT_READY', stage: 'verify' } })
      expect(await servedRef(world, target)).toBe('old')
      expect(await world.instances(target)).toHaveLength(1)
    },
  },
  {
    name: 'a deployment that crashes while it bakes',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new', { deploy: { bakeMs: 500 } })
      return world.deploy(target, 'new')
    },
    meanwhile: async (world, step) => {
      if (step.name !== 'edge.drain' || step.side !== 'after') return
      for (const id of world.running()) {
        const [row] = await world.database.query<{ bad: boolean }>(`select d.stage = 'drain' as bad from deployments d where d.id = $1`, [
          deploymentOf(world.host, id),
        ])
        if (row?.bad) await world.runtime.crash(id, 7)
      }
    },
    check: async (world, target, ended) => {
      expect(ended).toMatchObject({ status: 'failed', error: { code: 'BAKE_FAILED', stage: 'bake' } })
      expect(ended.error?.message).toContain('exit code 7')
      expect(await servedRef(world, target)).toBe('old')
      expect(await world.instances(target)).toHaveLength(1)
    },
  },
  {
    name: 'a rollback that adopts standby instances',
    prepare: async (world, target) => {
      await live({ run: { instances: 2 } })(world, target)
      world.commit('new')
      await world.live(target, 'new')
    },
    begin: async (world, target) => {
      const [release] = await world.database.query<{ id: never }>(`select id from releases where number = 1`)
      return world.rollback(target, release?.id as never)
    },
    check: async (world, target, ended) => {
      expect(ended.status).toBe('running')
      expect(await servedRef(world, target)).toBe('old')
      const instances = await world.instances(target)
      expect(instances.filter((instance) => instance.state === 'serving')).toHaveLength(2)
      // A server can't restart what stands on another one's machine: if that one claimed the rollback, it started its own.
      const isAdopted = ended.facts.attempts.every((attempt) => !attempt.instanceId.includes(ended.id.slice(4)))
      expect(instances).toHaveLength(isAdopted ? 3 : 5)
    },
  },
  {
    name: 'a rollback whose adopted instances fail',
    prepare: async (world, target) => {
      await live()(world, target)
      world.commit('new')
      await world.live(target, 'new')
    },
    begin: async (world, target) => {
      const [release] = await world.database.query<{ id: never }>(`select id from releases where number = 1`)
      const deployment = await world.rollback(target, release?.id as never)
      world.unready.add(deployment.id)
      return deployment
    },
    check: async (world, target, ended) => {
      expect(ended.status).toBe('failed')
      expect(await servedRef(world, target)).toBe('new')
      expect((await world.instances(target)).map((instance) => instance.state).sort()).toEqual(['serving', 'standby'])
    },
  },
  {
    name: 'a deployment with temporaryShutdown',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new', { deploy: { temporaryShutdown: true } })
      return world.deploy(target, 'new')
    },
    check: async (world, target, ended) => {
      expect(ended.status).toBe('running')
      expect(await servedRef(world, target)).toBe('new')
      expect(ended.facts.receipt?.gapMs).toBeGreaterThanOrEqual(0)
    },
  },
  {
    name: 'a deployment with temporaryShutdown that never becomes ready',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new', { deploy: { temporaryShutdown: true } })
      const deployment = await world.deploy(target, 'new')
      world.unready.add(deployment.id)
      return deployment
    },
    check: async (world, target, ended) => {
      expect(ended).toMatchObject({ status: 'failed', error: { code: 'NOT_READY' } })
      expect(await servedRef(world, target)).toBe('old')
    },
  },
  {
    name: 'a cancel during verify',
    prepare: live(),
    begin: async (world, target) => {
      world.commit('new', { readiness: { failureTimeoutMs: 60_000 } })
      const deployment = await world.deploy(target, 'new')
      world.unready.add(deployment.id)
      return deployment
    },
    meanwhile: async (world, step) => {
      if (step.name !== 'runtime.exec' || step.side !== 'after') return
      for (const id of world.unready) if ((await world.find(id)).stage === 'verify') await world.cancel(id).catch(() => {})
    },
    check: async (world, target, ended) => {
      expect(ended.status).toBe('canceled')
      expect(await servedRef(world, target)).toBe('old')
    },
  },
]

describe.each(SCENARIOS)('I5: $name, its server killed at every step', (scenario) => {
  test('is taken up where it was cut and ends as if nothing had happened', { timeout: 600_000 }, async () => {
    const { steps, failures } = await killEverywhere(scenario)
    expect(steps.length).toBeGreaterThan(10)
    expect(failures).toEqual([])
  })
})
