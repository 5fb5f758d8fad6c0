import type { DeploymentStory } from '../../domain/explain-deployment.ts'
import type { DeploymentId } from '../../domain/ids.ts'
import type { Queryable } from '../database.ts'
import { type EventRow, toEvent } from '../rows.ts'
import { findDeploymentRecord } from './deployment-view.ts'
import { listQueue } from './queue-view.ts'

/** Of one deployment's facts; a chain that is longer says nothing to anybody. */
const EVENTS_MAX = 500
const BEFORE_MAX = 5

/** What `shiplock why` tells from; null = no such deployment. */
export async function readStory(db: Queryable, id: string, slots: number): Promise<DeploymentStory | null> {
  const record = await findDeploymentRecord(db, id)
  if (record === null) return null
  const { deployment, project, environment, service, release } = record
  const isPending = deployment.status === 'pending'
  const queue = isPending ? await listQueue(db, slots, { project, environment }) : []
  return {
    deployment,
    project,
    environment,
    service,
    release,
    events: (await listStoryEvents(db, deployment.id)).map(toEvent),
    wait: queue.find((entry) => entry.id === deployment.id)?.wait ?? null,
    before: isPending ? [] : await listBefore(db, deployment.id),
  }
}

/** Its own, and what froze or held it while it waited. */
function listStoryEvents(db: Queryable, id: DeploymentId): Promise<EventRow[]> {
  const whileItWaited = 'e.at >= d.created_at and e.at <= coalesce(d.started_at, d.settled_at, now())'
  return db.query<EventRow>(
    `select * from (
       select * from events where deployment_id = $1
       union all
       select e.* from deployments d join events e on e.service_environment_id = d.service_environment_id and ${whileItWaited}
        where d.id = $1 and e.type in ('service.held', 'service.hold_released')
       union all
       select e.* from deployments d join events e on e.project_id = d.project_id and ${whileItWaited}
        where d.id = $1 and e.type in ('environment.frozen', 'environment.unfrozen') and coalesce(e.environment_id, d.environment_id) = d.environment_id) told
      order by sequence limit $2`,
    [id, EVENTS_MAX],
  )
}

/** In progress for the same service and environment between the deployment's making and its start, oldest first. */
function listBefore(db: Queryable, id: DeploymentId): Promise<{ id: DeploymentId; until: string }[]> {
  return db.query<{ id: DeploymentId; until: string }>(
    `select other.id, left_slot.at as until
       from deployments d
       cross join lateral (select id, position from deployments earlier
         where earlier.service_environment_id = d.service_environment_id and earlier.position < d.position and earlier.started_at is not null
         order by position desc limit $2) other
       cross join lateral (select min(at) as at from events
         where deployment_id = other.id and type in ('deployment.running', 'deployment.failed', 'deployment.canceled')) left_slot
      where d.id = $1 and left_slot.at > d.created_at and left_slot.at <= coalesce(d.started_at, d.settled_at, now())
      order by other.position`,
    [id, BEFORE_MAX],
  )
}
