import { ShiplockError } from '../../core/errors.ts'
import type { Source } from '../../domain/deployment.ts'
import type { DeploymentId, Digest } from '../../domain/ids.ts'
import { cancel } from '../../engine/commands/cancel.ts'
import { deploy } from '../../engine/commands/deploy.ts'
import type { Queryable } from '../../store/database.ts'
import { findDeploymentRecord, listDeploymentRecords } from '../../store/sql/deployment-view.ts'
import { findLogEnd, listLogLines } from '../../store/sql/log-lines.ts'
import { recordUpload } from '../../store/sql/uploads.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { type Handlers, type RouteContext, STREAMED } from '../route-context.ts'
import { viewDeployment } from '../views.ts'
import { decodeNumberCursor, pageOf } from './cursor.ts'
import { assertMayUse } from './host-path.ts'
import { namesOf } from './scope.ts'

export const deploymentHandlers: Handlers<
  'createUpload' | 'createDeployment' | 'listDeployments' | 'getDeployment' | 'getDeploymentLogs' | 'cancelDeployment'
> = {
  createUpload: async ({ query }, { dependencies, uploads, incoming, signal, access, tell }) => {
    const project = query.project ?? dependencies.defaults.project
    const cut = new AbortController()
    const share = uploads.open({ project }, 1, () => cut.abort(tooManyUploads(project)))
    const { digest, bytes } = await dependencies.uploads
      .receive(dependencies.uploadBudget.meter(project, incoming), { signal: AbortSignal.any([signal, cut.signal]) })
      .finally(() => share.close())
    await dependencies.database.transaction((tx) => recordUpload(tx, { project, environment: access.grant.environment }, { digest, bytes }))
    tell({ bytes }, { target: digest })
    return { digest, bytes, project }
  },

  createDeployment: async ({ body }, context) => {
    const { dependencies, actor, access, once } = context
    const names = namesOf(body, dependencies)
    const named = body.source === undefined ? null : toSource(body.source)
    if (named !== null) {
      assertMayUse(named, context)
      dependencies.validateSource(named)
    }
    const request = {
      names,
      source: named,
      boundTo: access.grant.environment,
      actor: actor.name,
      trigger: body.trigger,
      options: body.options,
    }
    const rules = { hostFor: dependencies.hostFor, assertMayUse: (source: Source) => assertMayUse(source, context) }
    return once(async (tx) => {
      const deployment = await deploy(tx, request, rules)
      return readDeployment(tx, deployment.id, dependencies)
    })
  },

  listDeployments: async ({ query }, { dependencies }) => {
    const rows = await listDeploymentRecords(dependencies.database, {
      ...query,
      before: decodeNumberCursor(query.cursor),
      limit: query.limit + 1,
    })
    return pageOf(
      rows,
      query.limit,
      (row) => viewDeployment(row, dependencies.urlOf),
      (row) => row.position,
    )
  },

  getDeployment: ({ params }, { dependencies }) => readDeployment(dependencies.database, params.id, dependencies),

  getDeploymentLogs: async ({ params, query }, context) => {
    const { database } = context.dependencies
    if ((await findLogEnd(database, params.id)) === null) throw notFound(params.id)
    if (context.wantsStream) return streamLog(params.id, query.after, context)
    const lines = await listLogLines(database, params.id, query.after, query.limit)
    // Always a number, also at the present end: a log goes on, and the next page may begin there.
    return { items: lines, next: lines.length === query.limit ? String(lines.at(-1)?.sequence ?? query.after) : null }
  },

  cancelDeployment: ({ params }, { dependencies, actor, once }) =>
    once(async (tx) => {
      await cancel(tx, params.id as DeploymentId, actor.name)
      return readDeployment(tx, params.id, dependencies)
    }),
}

export async function readDeployment(db: Queryable, id: string, dependencies: ApiDependencies) {
  const record = await findDeploymentRecord(db, id)
  if (record === null) throw notFound(id)
  return viewDeployment(record, dependencies.urlOf)
}

function notFound(id: string): ShiplockError {
  return new ShiplockError('NOT_FOUND', `no deployment ${id}`)
}

type SourceInput =
  | { kind: 'git'; url: string; ref: string | null }
  | { kind: 'upload'; digest: string; label: string | null }
  | { kind: 'image'; reference: string }

function toSource(input: SourceInput): Source {
  return input.kind === 'upload' ? { ...input, digest: input.digest as Digest } : input
}

const tooManyUploads = (project: string) =>
  new ShiplockError('RATE_LIMITED', `too many uploads are on their way, most of them to project ${project}`)

async function streamLog(id: string, after: number, context: RouteContext): Promise<typeof STREAMED> {
  const from = context.lastEventId === null ? after : parseLogId(context.lastEventId)
  await context.topics.withLog(id, async (topic) => {
    const stream = context.openStream()
    for await (const frames of topic.follow(from, null, stream.signal)) await stream.write(frames)
    const end = await findLogEnd(context.dependencies.database, id)
    stream.end('the deployment is settled', end?.status ?? null)
  })
  return STREAMED
}

function parseLogId(id: string): number {
  if (!/^\d{1,15}$/.test(id)) throw new ShiplockError('INPUT_INVALID', 'Last-Event-ID: is not an id of this stream')
  return Number(id)
}
