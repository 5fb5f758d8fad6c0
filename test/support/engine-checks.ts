import { expect } from 'vitest'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { listServiceEnvironments } from '../../src/store/sql/catalog.ts'
import type { World } from './engine-world.ts'

interface DeploymentFacts {
  readonly id: string
  readonly status: string
  readonly settled: boolean
  readonly slot: number | null
}

/** What must hold once nothing is in progress: I1, I4, I5 and I11, from the tables, the runtime and the edge. */
export async function expectSound(world: World): Promise<void> {
  const { database } = world
  expect(world.violations).toEqual([])
  expect(world.servers.flatMap((server) => server.problems)).toEqual([])
  const deployments = await database.query<DeploymentFacts>('select id, status, settled, slot from deployments order by position')
  expect(deployments.filter((deployment) => !deployment.settled || deployment.slot !== null)).toEqual([])
  expect(await database.query('select * from leases')).toEqual([])
  expect(await database.query('select deployment_id, stage from stage_runs where finished_at is null')).toEqual([])
  expect([...world.builder.open]).toEqual([])
  for (const target of await listServiceEnvironments(database, null)) await expectServing(world, target)
  await expectEventsAgree(world, deployments)
}

/** The route has exactly what serves, and what serves is all that runs. */
async function expectServing(world: World, target: ServiceEnvironment): Promise<void> {
  const instances = await world.instances(target)
  const serving = instances.filter((instance) => instance.state === 'serving')
  const route = await world.route(target)
  expect(route?.held ?? false).toBe(false)
  expect((route?.targets ?? []).map((known) => known.instanceId).sort()).toEqual(serving.map((instance) => instance.id).sort())
  for (const instance of serving) {
    expect(instance.deploymentId).toBe(target.liveDeploymentId)
    expect(await world.runtime.inspect(instance.id)).toMatchObject({ state: 'running', address: instance.address })
  }
  const states = new Set(instances.map((instance) => instance.state))
  for (const transient of ['starting', 'ready', 'warm']) expect([...states]).not.toContain(transient)
  const own = [...world.host.instances].filter(([, instance]) => instance.spec.labels.serviceEnvironmentId === target.id)
  expect(
    own
      .filter(([, instance]) => instance.status.state === 'running')
      .map(([id]) => id)
      .sort(),
  ).toEqual(serving.map((instance) => instance.id).sort())
  const known = new Set(instances.map((instance) => instance.id))
  expect(own.filter(([id]) => !known.has(id)).map(([id]) => id)).toEqual([])
  const running = await world.database.query<{ id: string }>(
    `select id from deployments where service_environment_id = $1 and status = 'running'`,
    [target.id],
  )
  expect(running.map((row) => row.id)).toEqual(target.liveDeploymentId === null ? [] : [target.liveDeploymentId])
}

const STATUS_OF_EVENT: Readonly<Record<string, string>> = {
  'deployment.queued': 'pending',
  'deployment.running': 'running',
  'deployment.failed': 'failed',
  'deployment.canceled': 'canceled',
  'deployment.superseded': 'superseded',
  'deployment.absorbed': 'superseded',
  'deployment.rolled_back': 'rolled_back',
}

/** I11: the status follows from the events; each settled deployment has exactly one terminal event; one release at most. */
async function expectEventsAgree(world: World, deployments: readonly DeploymentFacts[]): Promise<void> {
  const events = await world.events()
  expect(events.map((event) => event.sequence)).toEqual([...events].sort((a, b) => a.sequence - b.sequence).map((event) => event.sequence))
  for (const { id, status } of deployments) {
    const own = events.filter((event) => event.deploymentId === id)
    const said = own.map((event) => STATUS_OF_EVENT[event.type]).filter((known) => known !== undefined)
    expect({ id, status: said.at(-1) }).toEqual({ id, status })
    expect({ id, terminal: own.filter((event) => event.terminal).length }).toEqual({ id, terminal: 1 })
    expect(own.filter((event) => event.type === 'release.created').length).toBeLessThanOrEqual(1)
  }
}
