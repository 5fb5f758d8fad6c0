import { randomBytes } from 'node:crypto'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import {
  deleteNotificationTarget,
  findNotificationTarget,
  findScopeIds,
  insertNotificationTarget,
  listNotificationTargets,
  type NotificationTargetRecord,
} from '../../store/sql/notification-targets.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

type NotificationOperations = 'createNotificationTarget' | 'listNotificationTargets' | 'deleteNotificationTarget' | 'testNotificationTarget'

export const notificationHandlers: Handlers<NotificationOperations> = {
  createNotificationTarget: ({ body }, { dependencies, actor, tell, once }) => {
    const project = body.project ?? dependencies.defaults.project
    dependencies.assertCallable(body.url)
    return once(
      async (tx) => {
        const secret = body.kind === 'webhook' ? `whsec_${randomBytes(32).toString('base64')}` : null
        const id = randomId('tgt')
        const seal = (text: string) => Buffer.from(dependencies.secrets.seal(text))
        const ids = await findScopeIds(tx, project, body.environment ?? null)
        if (ids === null) {
          throw new ShiplockError(
            'NOT_FOUND',
            body.environment == null ? `no project ${project}` : `no environment ${body.environment} in ${project}`,
          )
        }
        if ((await listNotificationTargets(tx, project)).length >= LIMITS.notificationTargetsPerProject) {
          throw new ShiplockError('CONFLICT', `${project} has ${LIMITS.notificationTargetsPerProject} targets already`, {
            hint: 'Remove one first.',
          })
        }
        await insertNotificationTarget(tx, {
          id,
          ...ids,
          name: body.name,
          kind: body.kind,
          sealedUrl: seal(body.url),
          sealedSecret: secret === null ? null : seal(secret),
          told: [...new Set(body.told)],
          createdBy: actor.name,
        })
        tell({}, { target: id })
        const made = await findNotificationTarget(tx, id)
        if (made === null) throw new Error('a notification target was not written')
        return { target: viewTarget(made, dependencies), secret }
      },
      (answer) => ({ ...answer, secret: null }),
    )
  },

  listNotificationTargets: async ({ query }, { dependencies }) => {
    const rows = await listNotificationTargets(dependencies.database, query.project ?? dependencies.defaults.project)
    return { items: rows.map((row) => viewTarget(row, dependencies)), next: null }
  },

  deleteNotificationTarget: ({ params }, { once }) =>
    once(async (tx) => {
      await deleteNotificationTarget(tx, params.id)
      return null
    }),

  testNotificationTarget: ({ params }, { dependencies }) => dependencies.testNotification(params.id),
}

/** The path of a chat's address is its password: only the host is shown (I8). */
function viewTarget(record: NotificationTargetRecord, { open }: ApiDependencies) {
  const { sealedUrl, sealedSecret: _, told, ...rest } = record
  return { ...rest, address: hostOf(sealedUrl, open), told: [...told] }
}

/** Also of one that was sealed with a key that is lost: it must be possible to see and remove it. */
function hostOf(sealedUrl: Uint8Array, open: ApiDependencies['open']): string {
  try {
    return new URL(open(sealedUrl)).host
  } catch {
    return 'can’t be opened: the key is lost'
  }
}
