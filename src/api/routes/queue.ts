import { ShiplockError } from '../../core/errors.ts'
import { explainDeployment } from '../../domain/explain-deployment.ts'
import type { EnvironmentId } from '../../domain/ids.ts'
import type { Queryable } from '../../store/database.ts'
import { readStory } from '../../store/sql/deployment-story.ts'
import { endOfFreeze, type Freeze, type FreezeScope, findFreezeScope, freeze, listFreezes, unfreeze } from '../../store/sql/freezes.ts'
import { listQueue, type QueueEntry } from '../../store/sql/queue-view.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

export const queueHandlers: Handlers<'getQueue' | 'explainDeployment' | 'listFreezes' | 'createFreeze' | 'liftFreeze'> = {
  getQueue: async (_request, { dependencies: { database, slots }, access }) => ({
    items: (await listQueue(database, slots, access.visible)).map(viewEntry),
    next: null,
  }),

  explainDeployment: async ({ params }, { dependencies: { database, slots } }) => {
    const story = await readStory(database, params.id, slots)
    if (story === null) throw new ShiplockError('NOT_FOUND', `no deployment ${params.id}`)
    const { summary, facts, next } = explainDeployment(story)
    return { id: story.deployment.id, status: story.deployment.status, summary, facts: [...facts], next }
  },

  listFreezes: async ({ query }, { dependencies: { database } }) => {
    const all = await listFreezes(database, query.project ?? null)
    // One of the whole project holds each of its environments.
    const { environment } = query
    return {
      items: all
        .filter((known) => environment === undefined || known.environment === null || known.environment === environment)
        .map(viewFreeze),
      next: null,
    }
  },

  createFreeze: ({ body }, { dependencies, actor, once }) =>
    once(async (tx) => {
      const scope = await requireScope(tx, body, dependencies)
      const until = await endOfFreeze(tx, { until: body.until ?? null, forMs: body.forMs ?? null })
      return viewFreeze(await freeze(tx, scope, { reason: body.reason, until, by: actor.name }))
    }),

  liftFreeze: ({ query }, { dependencies, actor, once }) =>
    once(async (tx) => ({ lifted: await unfreeze(tx, await requireScope(tx, query, dependencies), actor.name) })),
}

function viewEntry({ wait, ...entry }: QueueEntry) {
  return {
    ...entry,
    waitsFor: wait?.text ?? `in progress: ${entry.stage ?? entry.status}`,
    cause: wait?.cause ?? null,
    since: wait?.since ?? entry.startedAt ?? entry.createdAt,
    next: wait?.next ?? null,
  }
}

function viewFreeze({ id, project, environment, reason, until, createdBy, createdAt }: Freeze) {
  return { id, project, environment, reason, until, createdBy, createdAt }
}

async function requireScope(
  tx: Queryable,
  { project, environment }: { readonly project?: string | undefined; readonly environment?: string | undefined },
  { defaults }: ApiDependencies,
): Promise<FreezeScope & { readonly environmentId: EnvironmentId | null }> {
  const names = { project: project ?? defaults.project, environment: environment ?? null }
  const found = await findFreezeScope(tx, names)
  if (found !== null) return found
  const what = names.environment === null ? `project ${names.project}` : `environment ${names.environment} in project ${names.project}`
  throw new ShiplockError('NOT_FOUND', `no ${what}`)
}
