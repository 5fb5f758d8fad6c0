import { afterEach, beforeEach, expect, test } from 'vitest'
import type { HealthCheck } from '../../src/domain/service-config.ts'
import { HealthMonitor } from '../../src/engine/health-monitor.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { createWorld, type World } from '../support/engine-world.ts'
import { eventually } from '../support/eventually.ts'

const CHECK: HealthCheck = {
  probe: { kind: 'exec', command: 'check' },
  periodMs: 10,
  attemptTimeoutMs: 1000,
  disconnectTimeoutMs: 50,
  failureTimeoutMs: 60_000,
  recoveryTimeoutMs: 50,
}

let world: World
let monitor: HealthMonitor
let app: ServiceEnvironment
beforeEach(async () => {
  world = await createWorld()
  const server = await world.server().start()
  monitor = new HealthMonitor(server.engine)
  app = await world.service()
})
afterEach(async () => {
  await monitor.stop()
  await world.close()
})

async function serving(check: Partial<HealthCheck>) {
  world.commit('one', { run: { instances: 2, healthCheck: { ...CHECK, ...check } } })
  const live = await world.live(app, 'one')
  await monitor.start()
  return live
}
const targets = async () => (await world.route(app))?.targets.length
const told = async (type: string) => (await world.events()).filter((event) => event.type === type).map((event) => event.message)

test('disconnectTimeout: who fails that long gets no traffic, but the last one stays; recoveryTimeout: who passes that long returns', async () => {
  const live = await serving({})
  world.unready.add(live.id)
  await eventually(async () => expect(await targets()).toBe(1))
  const sentence = /^instance [01]: health check failing for \d+ s: exec check gave exit 1$/
  await eventually(async () => expect((await told('instance.unhealthy'))[0]).toMatch(sentence))
  expect((await world.find(live.id)).statusReason).toMatch(/health check failing/)
  world.unready.delete(live.id)
  await eventually(async () => expect(await targets()).toBe(2))
  await eventually(async () => expect((await told('instance.recovered'))[0]).toMatch(/passes its health check again/))
  expect(await told('instance.restarted')).toEqual([])
  expect((await world.find(live.id)).status).toBe('running')
})

test('failureTimeout: who fails that long is restarted, and serves again once it is ready', async () => {
  const live = await serving({ disconnectTimeoutMs: 20, failureTimeoutMs: 80 })
  world.unready.add(live.id)
  await eventually(async () => expect(await told('instance.unhealthy')).not.toEqual([]))
  await eventually(() => expect([...world.host.instances.values()].some((instance) => instance.starts > 1)).toBe(true))
  world.unready.delete(live.id)
  await eventually(async () => expect(await told('instance.restarted')).not.toEqual([]))
  await eventually(async () => expect(await targets()).toBe(2))
  expect(world.violations.filter((violation) => violation.startsWith('I1'))).toEqual([])
  expect((await world.instances(app)).every((instance) => instance.state === 'serving')).toBe(true)
})

test('without a health check nothing is probed; only an exit counts', async () => {
  world.commit('one', { run: { instances: 2 } })
  const live = await world.live(app, 'one')
  world.unready.add(live.id)
  const probes: string[] = []
  world.hooks.push(({ name, side }) => {
    if (name === 'runtime.exec' && side === 'before') probes.push(name)
  })
  await monitor.start()
  const [first] = world.running()
  if (first === undefined) throw new Error('nothing runs')
  expect(probes).toEqual([])
  world.unready.delete(live.id)
  await world.runtime.crash(first, 13)
  await eventually(async () => expect(await told('instance.exited')).toEqual([expect.stringContaining('exit code 13')]))
  await eventually(async () => expect(await told('instance.restarted')).toHaveLength(1))
})
