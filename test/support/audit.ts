import type { Event } from '../../src/contract/event.ts'
import type { Collector } from './collector.ts'
import { type Place, processPlace } from './place.ts'
import type { TestServer } from './server.ts'

const ENDS = new Set(['deployment.settled', 'deployment.failed', 'deployment.canceled'])
const LEFT_SLOT = new Set([...ENDS, 'deployment.running', 'deployment.superseded', 'deployment.rolled_back'])

/**
 * What is wrong with a server at rest, one line each: I4 and I11 from the event log, I5 by comparing what runs with what the rows say,
 * I2 from what the apps told. Empty = nothing. Call it when every deployment has settled.
 */
export async function audit(server: TestServer, collector: Collector, place: Place = processPlace(server)): Promise<readonly string[]> {
  const events = await server.events()
  return [...faultsOfEvents(events), ...(await strayInstances(server, place)), ...collector.breaches, ...doubleStarts(events, collector)]
}

/** I4, I11: one deployment at a time per service and environment; one end of its own per deployment, and nothing undone after it. */
export function faultsOfEvents(events: readonly Event[]): readonly string[] {
  const faults: string[] = []
  const inProgress = new Map<string, string>()
  const ended = new Map<string, number>()
  for (const event of events) {
    const { deploymentId, type } = event
    if (deploymentId === null || event.service === null) continue
    const lane = `${event.project}/${event.environment}/${event.service}`
    if (type === 'deployment.started') {
      const other = inProgress.get(lane)
      if (other !== undefined) faults.push(`I4: ${deploymentId} began while ${other} was in progress`)
      inProgress.set(lane, deploymentId)
    }
    if (LEFT_SLOT.has(type) && inProgress.get(lane) === deploymentId) inProgress.delete(lane)
    if (ENDS.has(type)) ended.set(deploymentId, (ended.get(deploymentId) ?? 0) + 1)
    if (ENDS.has(type) && !event.terminal) faults.push(`I11: ${type} of ${deploymentId} is not terminal`)
  }
  for (const [id, count] of ended) if (count > 1) faults.push(`I11: ${id} ended ${count} times`)
  const queued = new Set(events.filter((event) => event.type === 'deployment.queued').map((event) => event.deploymentId ?? ''))
  for (const id of queued) {
    const last = events.findLast((event) => event.deploymentId === id && event.terminal)
    if (last === undefined) faults.push(`I5: ${id} has no end`)
  }
  return faults
}

/** I5: what runs is exactly what serves or stays warm; what stands there has a row; nothing of a build or task is left. */
async function strayInstances(server: TestServer, place: Place): Promise<readonly string[]> {
  const { items } = await server.call('GET', '/v1/services?limit=200')
  const details = await Promise.all(items.map((item: { service: string }) => server.service(item.service)))
  const rows = details.flatMap((detail) => detail.instanceList).filter((instance) => instance.state !== 'removed')
  const wanted = new Set(rows.filter((row) => row.state === 'serving' || row.state === 'warm').map((row) => row.id))
  const known = new Set<string>(rows.map((row) => row.id))
  const { running, present, left } = await place()
  return [
    ...[...running].filter((name) => !wanted.has(name)).map((name) => `I5: ${name} runs without a row that wants it`),
    ...[...wanted].filter((name) => !running.has(name)).map((name) => `I1: ${name} should run and does not`),
    ...present.filter((name) => !known.has(name)).map((name) => `I5: what is there of ${name} has no row`),
    ...left.map((what) => `I5: ${what}`),
  ]
}

/** I5: an instance starts once, and again only after it was told to stop or where the log says that it had crashed. */
function doubleStarts(events: readonly Event[], collector: Collector): readonly string[] {
  const count = (kind: 'started' | 'stopped', id: string) => collector.of(kind).filter((report) => report.instance === id).length
  const crashes = (id: string) => events.filter((event) => event.instanceId === id && event.type === 'instance.exited').length
  const ids = new Set(collector.of('started').map((report) => report.instance ?? ''))
  return [...ids]
    .filter((id) => count('started', id) > 1 + count('stopped', id) + crashes(id))
    .map((id) => `I5: ${id} was started ${count('started', id)} times, stopped ${count('stopped', id)} times`)
}
