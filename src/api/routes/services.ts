import { ShiplockError } from '../../core/errors.ts'
import type { Queryable } from '../../store/database.ts'
import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { readPushRules } from '../../store/sql/deploy-rules.ts'
import { findDeploymentRecord } from '../../store/sql/deployment-view.ts'
import { releaseHold } from '../../store/sql/holds.ts'
import { listInstanceRecords, listServiceRecords, type ServiceRecord } from '../../store/sql/service-view.ts'
import type { ApiDependencies } from '../dependencies.ts'
import { InstanceFollower, readInstanceLines } from '../instance-lines.ts'
import { LogPositions } from '../log-positions.ts'
import { type Handlers, STREAMED } from '../route-context.ts'
import { viewDeployment, viewInstance, viewService } from '../views.ts'
import { decodeCursor, pageOf } from './cursor.ts'
import { type NamedScope, namesOf, requireService } from './scope.ts'

export const serviceHandlers: Handlers<'listServices' | 'getService' | 'releaseHold' | 'streamServiceLogs'> = {
  listServices: async ({ query }, { dependencies }) => {
    const rows = await listServiceRecords(dependencies.database, {
      ...query,
      after: decodeServiceCursor(query.cursor),
      limit: query.limit + 1,
    })
    return pageOf(
      rows,
      query.limit,
      (row) => viewService(row, dependencies.urlOf),
      (row) => `${row.project}/${row.service}/${row.environment}`,
    )
  },

  getService: async ({ params, query }, { dependencies }) => {
    const { database, urlOf } = dependencies
    const record = await readService(database, { ...query, ...params }, dependencies)
    const [pushes, instances, live, latest] = await Promise.all([
      readPushRules(database, record.id),
      listInstanceRecords(database, record.id),
      record.live_deployment_id === null ? null : findDeploymentRecord(database, record.live_deployment_id),
      record.last_id === null ? null : findDeploymentRecord(database, record.last_id),
    ])
    return {
      ...viewService(record, urlOf),
      pushes: pushes === null ? null : { ...pushes, watch: [...pushes.watch] },
      instanceList: instances.map(viewInstance),
      liveDeployment: live === null ? null : viewDeployment(live, urlOf),
      latestDeployment: latest === null ? null : viewDeployment(latest, urlOf),
    }
  },

  releaseHold: async ({ params, query }, { dependencies, actor, once }) =>
    once(async (tx) => {
      const target = await requireService(tx, { ...query, ...params }, dependencies)
      await lockServiceEnvironment(tx, target.id)
      await releaseHold(tx, target, actor.name)
      return viewService(await readService(tx, { ...query, ...params }, dependencies), dependencies.urlOf)
    }),

  streamServiceLogs: async ({ params, query }, context) => {
    const { dependencies } = context
    const target = await requireService(dependencies.database, { ...query, ...params }, dependencies)
    if (!context.wantsStream) {
      return { items: await readInstanceLines(dependencies, target.id, query.tail, context.signal), next: null }
    }
    const stream = context.openStream()
    await new InstanceFollower(dependencies, stream, LogPositions.parse(context.lastEventId), query.tail).run(target.id)
    return STREAMED
  },
}

export async function readService(db: Queryable, scope: NamedScope, dependencies: ApiDependencies): Promise<ServiceRecord> {
  const names = namesOf(scope, dependencies)
  const [record] = await listServiceRecords(db, { ...names, after: null, limit: 1 })
  if (record === undefined) {
    throw new ShiplockError('NOT_FOUND', `no service ${names.service} in ${names.environment} of project ${names.project}`, {
      details: { ...names },
    })
  }
  return record
}

function decodeServiceCursor(cursor: string | undefined): string | null {
  const key = decodeCursor(cursor)
  if (key !== null && !/^[a-z0-9-]+\/[a-z0-9-]+\/[a-z0-9-]+$/.test(key)) {
    throw new ShiplockError('INPUT_INVALID', 'query.cursor: is not a cursor of this list')
  }
  return key
}
