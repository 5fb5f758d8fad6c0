import { randomId } from '../../core/random-id.ts'
import type { EventType, NewEvent } from '../../domain/event.ts'
import type { Queryable } from '../database.ts'

/** What an event means for the commit that it is about. */
const STATUS_OF_EVENT: Partial<Record<EventType, 'pending' | 'success' | 'failure' | 'canceled'>> = {
  'deployment.queued': 'pending',
  'deployment.running': 'success',
  'deployment.failed': 'failure',
  'deployment.canceled': 'canceled',
  'deployment.absorbed': 'canceled',
}

const ABOUT_OF_EVENT: Partial<Record<EventType, 'running' | 'failed' | 'rolled_back'>> = {
  'deployment.running': 'running',
  'deployment.failed': 'failed',
  'deployment.rolled_back': 'rolled_back',
  'deployment.swapped_back': 'rolled_back',
}

/** GitHub's bound; the others take more. */
const DESCRIPTION_MAX = 140

/**
 * Puts into the outboxes what others are to be told of these events, in the transaction that writes them: nothing is told that did not
 * happen, and nothing that happened is forgotten. Senders come by later, so a git host or chat that is away holds nothing up.
 */
export async function tellOthers(tx: Queryable, events: readonly NewEvent[]): Promise<void> {
  const statuses = events.flatMap((event) => {
    // Which commit it is, fetch found out; a push has said so before.
    const isFetched = event.type === 'stage.finished' && event.data.stage === 'fetch'
    const status = isFetched ? 'pending' : STATUS_OF_EVENT[event.type]
    if (status === undefined || event.deploymentId === null) return []
    return [
      { deployment_id: event.deploymentId, status, description: cut(status === 'pending' ? 'the deployment is under way' : event.message) },
    ]
  })
  const notices = events.flatMap((event) => {
    const about = ABOUT_OF_EVENT[event.type]
    return about === undefined || event.deploymentId === null
      ? []
      : [{ id: randomId('ntf'), deployment_id: event.deploymentId, about, message: event.message }]
  })
  for (const status of statuses) await tellCommit(tx, status)
  if (notices.length > 0) await tellTargets(tx, notices)
}

/** One status per deployment and word. What is older about the same commit and service, and not sent yet, is overtaken. */
async function tellCommit(tx: Queryable, status: { deployment_id: string; status: string; description: string }): Promise<void> {
  await tx.query(
    `with about as (
       select d.id, d.service_environment_id, coalesce(d.facts->'revision'->>'commit', d.trigger->'push'->>'commit') as sha,
              (select w.id from webhooks w where w.service_id = d.service_id and w.enabled and w.sealed_api_token is not null
                order by w.created_at limit 1) as webhook_id
         from deployments d where d.id = $2),
     added as (
       insert into commit_statuses (id, webhook_id, deployment_id, service_environment_id, sha, status, description)
       select $1, webhook_id, id, service_environment_id, sha, $3, $4 from about where webhook_id is not null and sha ~ '^[0-9a-f]{40,64}$'
       on conflict (webhook_id, deployment_id, status) do nothing
       returning webhook_id, service_environment_id, sha, position)
     update commit_statuses o set state = 'overtaken' from added a
      where o.webhook_id = a.webhook_id and o.service_environment_id = a.service_environment_id and o.sha = a.sha and o.state = 'pending'
        and o.position < a.position`,
    [randomId('cst'), status.deployment_id, status.status, status.description],
    { name: 'tell-commit' },
  )
}

async function tellTargets(tx: Queryable, notices: readonly object[]): Promise<void> {
  await tx.query(
    `insert into notifications (id, target_id, deployment_id, about, body)
     select n.id || '_' || row_number() over (partition by n.id order by t.id), t.id, d.id, n.about, jsonb_build_object(
              'type', 'deployment.' || n.about, 'at', to_char(now() at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'message', n.message,
              'project', p.name, 'environment', e.name, 'service', s.name, 'host', se.host, 'deployment', d.id, 'kind', d.kind, 'release', r.number,
              'commit', coalesce(d.facts->'revision'->>'commit', d.trigger->'push'->>'commit'), 'actor', d.trigger->>'actor',
              'commitMessage', coalesce(d.facts->'revision'->>'message', d.trigger->'push'->>'message'),
              'error', d.error->>'code', 'replacedBy', d.replaced_by)
       from jsonb_to_recordset($1::jsonb) as n(id text, deployment_id text, about text, message text)
       join deployments d on d.id = n.deployment_id
       join notification_targets t on t.project_id = d.project_id and t.enabled and n.about = any(t.told)
        and (t.environment_id is null or t.environment_id = d.environment_id)
       join projects p on p.id = d.project_id join environments e on e.id = d.environment_id join services s on s.id = d.service_id
       join service_environments se on se.id = d.service_environment_id left join releases r on r.id = d.release_id
     on conflict (target_id, deployment_id, about) do nothing`,
    [JSON.stringify(notices)],
    { name: 'tell-targets' },
  )
}

function cut(text: string): string {
  const characters = [...text]
  return characters.length <= DESCRIPTION_MAX ? text : `${characters.slice(0, DESCRIPTION_MAX - 1).join('')}…`
}
