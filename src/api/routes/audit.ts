import { listAudit } from '../../store/sql/audit.ts'
import type { Handlers } from '../route-context.ts'
import { decodeNumberCursor, pageOf } from './cursor.ts'

export const auditHandlers: Handlers<'listAudit'> = {
  listAudit: async ({ query }, { dependencies, access }) => {
    const rows = await listAudit(dependencies.database, {
      project: query.project ?? null,
      environment: query.environment ?? null,
      within: access.visible.project,
      actor: query.actor ?? null,
      action: query.action ?? null,
      since: query.since ?? null,
      before: decodeNumberCursor(query.cursor),
      limit: query.limit + 1,
    })
    return pageOf(
      rows,
      query.limit,
      (row) => ({ ...row, data: { ...row.data } }),
      (row) => row.position,
    )
  },
}
