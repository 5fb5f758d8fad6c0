import { ShiplockError } from '../../core/errors.ts'
import type { Queryable } from '../../store/database.ts'
import { findDelivery, insertDelivery } from '../../store/sql/deliveries.ts'
import { appendEvents } from '../../store/sql/events.ts'
import { approveCommit, listPreviewRecords, type PreviewRecord } from '../../store/sql/preview-view.ts'
import { beginEnvironmentRemoval } from '../../store/sql/removals.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

interface Named {
  readonly project?: string | undefined
  readonly repository?: string | undefined
}

export const previewHandlers: Handlers<'listPreviews' | 'getPreview' | 'approvePreview' | 'removePreview'> = {
  listPreviews: async ({ query }, { dependencies }) => {
    const records = await listPreviewRecords(dependencies.database, query.project ?? dependencies.defaults.project, null)
    return { items: records.map((record) => viewPreview(record, dependencies)), next: null }
  },

  getPreview: async ({ params, query }, { dependencies }) =>
    viewPreview(await requirePreview(dependencies.database, params.number, query, dependencies), dependencies),

  approvePreview: ({ params, body }, { dependencies, actor, once, tell }) =>
    once(async (tx) => {
      const preview = await requirePreview(tx, params.number, body, dependencies)
      const approved = await approveCommit(tx, preview, body.commit, actor.name)
      if (approved === null) {
        throw new ShiplockError('NOT_FOUND', `commit ${body.commit.slice(0, 12)} of pull request #${params.number} waits for no approval`, {
          hint: 'Another commit may have come since: `shiplock preview show` names the one that waits.',
        })
      }
      tell({}, { target: `#${params.number}` })
      await tellApproved(tx, preview, body.commit, actor.name)
      return { number: params.number, commit: body.commit, deliveryId: await decideAgain(tx, approved) }
    }),

  removePreview: ({ params, query }, { dependencies, actor, once, tell }) =>
    once(async (tx) => {
      const preview = await requirePreview(tx, params.number, query, dependencies)
      if (preview.environmentId === null) {
        throw new ShiplockError('CONFLICT', `pull request #${params.number} has no preview yet`, {
          hint: 'What waits for an approval runs nowhere.',
        })
      }
      await beginEnvironmentRemoval(tx, preview.environmentId, { by: actor.name, isCanceling: true })
      tell({}, { target: preview.environment ?? '' })
      return viewPreview(await requirePreview(tx, params.number, query, dependencies), dependencies)
    }),
}

/** Throws NOT_FOUND, and CONFLICT when the number means two. */
async function requirePreview(
  db: Queryable,
  number: number,
  { project = '', repository }: Named,
  { defaults }: ApiDependencies,
): Promise<PreviewRecord> {
  const names = project === '' ? defaults.project : project
  const all = await listPreviewRecords(db, names, number)
  const [found, other] = all.filter((record) => repository === undefined || record.repository === repository)
  if (found === undefined) throw new ShiplockError('NOT_FOUND', `no preview of pull request #${number} in project ${names}`)
  if (other === undefined) return found
  throw new ShiplockError('CONFLICT', `two repositories of project ${names} have a pull request #${number}`, {
    hint: 'Name one with --repository.',
    details: { repositories: all.map((record) => record.repository) },
  })
}

/** The event that asked is decided anew; with the approval it deploys. */
async function decideAgain(
  tx: Queryable,
  { deliveryId, webhookId }: NonNullable<Awaited<ReturnType<typeof approveCommit>>>,
): Promise<string> {
  const asked = deliveryId === null || webhookId === null ? null : await findDelivery(tx, webhookId, deliveryId)
  if (asked?.parsed == null) {
    throw new ShiplockError('CONFLICT', 'the event that asked for this approval is no longer kept', {
      hint: 'Have the git host send it again, or push to the pull request.',
    })
  }
  const { id } = await insertDelivery(tx, {
    webhookId: asked.webhookId,
    deliveryId: asked.deliveryId,
    event: asked.event,
    bodyDigest: asked.bodyDigest,
    parsed: asked.parsed,
    payload: null,
    payloadBytes: asked.payloadBytes,
    usedPreviousSecret: false,
    replayOf: asked.id,
  })
  return id
}

async function tellApproved(tx: Queryable, preview: PreviewRecord, commit: string, by: string): Promise<void> {
  await appendEvents(tx, [
    {
      type: 'preview.approved',
      message: `${by} approved commit ${commit.slice(0, 12)} of pull request #${preview.number}`,
      projectId: preview.projectId,
      environmentId: preview.environmentId,
      serviceId: null,
      serviceEnvironmentId: null,
      deploymentId: null,
      instanceId: null,
      data: { number: preview.number, commit, by },
    },
  ])
}

function viewPreview({ environmentId: _, projectId: __, isRemoving, services, ...record }: PreviewRecord, { urlOf }: ApiDependencies) {
  const state = isRemoving ? ('removing' as const) : record.environment === null ? ('waiting' as const) : ('standing' as const)
  return { ...record, state, services: services.map(({ host, ...service }) => ({ ...service, url: urlOf(host) })) }
}
