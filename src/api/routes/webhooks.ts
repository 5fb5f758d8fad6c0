import { randomBytes } from 'node:crypto'
import type { IncomingMessage } from 'node:http'
import type { z } from 'zod'
import type { PreviewSettings } from '../../contract/preview.ts'
import { ShiplockError, toShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import type { PreviewRules } from '../../domain/preview.ts'
import type { Queryable } from '../../store/database.ts'
import { ensureServiceEnvironment, findServiceEnvironment } from '../../store/sql/catalog.ts'
import { type DeliveryRecord, findDelivery, insertDelivery, listDeliveries } from '../../store/sql/deliveries.ts'
import {
  countWebhooks,
  deleteWebhook,
  findWebhook,
  findWebhookSecrets,
  insertWebhook,
  listWebhooks,
  rotateWebhookSecret,
  updateWebhook,
  type WebhookProviderName,
  type WebhookRecord,
} from '../../store/sql/webhooks.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers, RouteContext } from '../route-context.ts'
import { decodeCursor, decodeNumberCursor, pageOf } from './cursor.ts'
import { assertMayUse } from './host-path.ts'
import { namesOf } from './scope.ts'

type WebhookOperations =
  | 'createWebhook'
  | 'listWebhooks'
  | 'getWebhook'
  | 'updateWebhook'
  | 'rotateWebhook'
  | 'deleteWebhook'
  | 'testWebhook'
  | 'listDeliveries'
  | 'replayDelivery'

export const webhookHandlers: Handlers<WebhookOperations> = {
  createWebhook: ({ body }, context) => {
    const { dependencies, once, tell } = context
    const names = namesOf(body, dependencies)
    if (body.repository !== undefined) checkRepository(body.repository, context)
    if (typeof body.apiUrl === 'string') dependencies.assertCallable(body.apiUrl)
    return once(async (tx) => {
      const secret = drawSecret(body.provider, body.signing ?? false)
      const id = randomId('hook')
      const known = await findServiceEnvironment(tx, names)
      const repository = body.repository ?? repositoryOf(known?.source ?? null, names.service)
      assertMayUse({ kind: 'git', url: repository, ref: null }, context)
      const target =
        known ?? (await ensureServiceEnvironment(tx, names, { kind: 'git', url: repository, ref: null }, dependencies.hostFor(names)))
      if ((await countWebhooks(tx, target.serviceId)) >= LIMITS.webhooksPerService) {
        throw new ShiplockError('CONFLICT', `${names.service} has ${LIMITS.webhooksPerService} webhooks already`, {
          hint: 'Delete one first.',
        })
      }
      await insertWebhook(tx, {
        id,
        projectId: target.projectId,
        serviceId: target.serviceId,
        provider: body.provider,
        repository,
        sealedSecret: Buffer.from(dependencies.secrets.seal(secret)),
        checksHeads: body.checksHeads ?? true,
        apiUrl: body.apiUrl ?? null,
        sealedApiToken: sealedToken(body.apiToken, dependencies) ?? null,
        previewRules: toRules(body.previews) ?? null,
      })
      tell({}, { target: id })
      return { webhook: viewWebhook(await require(tx, id), context), secret }
    }, withoutSecret)
  },

  listWebhooks: async ({ query }, context) => {
    const { dependencies } = context
    const rows = await listWebhooks(dependencies.database, {
      project: query.project ?? dependencies.defaults.project,
      service: query.service ?? null,
      after: decodeWebhookCursor(query.cursor),
      limit: query.limit + 1,
    })
    return pageOf(
      rows,
      query.limit,
      (row) => viewWebhook(row, context),
      (row) => row.id,
    )
  },

  getWebhook: async ({ params }, context) => viewWebhook(await require(context.dependencies.database, params.id), context),

  updateWebhook: ({ params, body }, context) =>
    context.once(async (tx) => {
      const { dependencies } = context
      if (body.repository !== undefined) checkRepository(body.repository, context)
      if (typeof body.apiUrl === 'string') dependencies.assertCallable(body.apiUrl)
      await updateWebhook(tx, params.id, {
        isEnabled: body.enabled,
        checksHeads: body.checksHeads,
        repository: body.repository,
        apiUrl: body.apiUrl,
        sealedApiToken: sealedToken(body.apiToken, dependencies),
        previewRules: toRules(body.previews),
      })
      return viewWebhook(await require(tx, params.id), context)
    }),

  rotateWebhook: ({ params, body }, context) => {
    const { dependencies, once } = context
    return once(async (tx) => {
      const webhook = await require(tx, params.id)
      const current = (await findWebhookSecrets(tx, [params.id])).get(params.id)?.sealedSecrets[0]
      const isSigning = current !== undefined && dependencies.open(current).startsWith(SIGNING_PREFIX)
      const secret = drawSecret(webhook.provider, isSigning)
      await rotateWebhookSecret(tx, params.id, Buffer.from(dependencies.secrets.seal(secret)), body.overlapSeconds * 1000)
      return { webhook: viewWebhook(await require(tx, params.id), context), secret }
    }, withoutSecret)
  },

  deleteWebhook: ({ params }, { once }) =>
    once(async (tx) => {
      await deleteWebhook(tx, params.id)
      return null
    }),

  testWebhook: ({ params }, context) => sendPing(params.id, context),

  listDeliveries: async ({ params, query }, { dependencies }) => {
    const rows = await listDeliveries(dependencies.database, {
      webhookId: params.id,
      before: decodeNumberCursor(query.cursor),
      limit: query.limit + 1,
    })
    return pageOf(rows, query.limit, viewDelivery, (row) => row.position)
  },

  replayDelivery: ({ params }, { once }) =>
    once(async (tx) => {
      const first = await findDelivery(tx, params.id, params.delivery)
      if (first === null) throw new ShiplockError('NOT_FOUND', `no delivery ${params.delivery} of this webhook`)
      if (first.parsed?.kind !== 'push' && first.parsed?.kind !== 'pullRequest') {
        throw new ShiplockError(
          'CONFLICT',
          `${first.id} can’t be replayed: it ${first.parsed === null ? `was ${first.verdict}` : 'is neither push nor pull request'}`,
          {
            hint: first.verdict === 'duplicate' ? 'Replay the delivery that it repeats.' : 'Have the git host send it again.',
          },
        )
      }
      const { id } = await insertDelivery(tx, {
        webhookId: params.id,
        deliveryId: first.deliveryId,
        event: first.event,
        bodyDigest: first.bodyDigest,
        parsed: first.parsed,
        payload: null,
        payloadBytes: first.payloadBytes,
        usedPreviousSecret: false,
        replayOf: first.id,
      })
      const made = await findDelivery(tx, params.id, id)
      if (made === null) throw new Error('a replay was not written')
      return viewDelivery(made)
    }),
}

function decodeWebhookCursor(cursor: string | undefined): string | null {
  const id = decodeCursor(cursor)
  if (id !== null && !/^[\w-]{1,64}$/.test(id)) throw new ShiplockError('INPUT_INVALID', 'query.cursor: is not a cursor of this list')
  return id
}

async function require(db: Queryable, id: string): Promise<WebhookRecord> {
  const webhook = await findWebhook(db, id)
  if (webhook === null) throw new ShiplockError('NOT_FOUND', `no webhook ${id}`)
  return webhook
}

function repositoryOf(source: { readonly kind: string; readonly url?: string } | null, service: string): string {
  if (source?.kind === 'git' && source.url !== undefined) return source.url
  throw new ShiplockError(
    'INPUT_INVALID',
    `body.repository: is missing, and ${service} ${source === null ? 'does not exist yet' : 'was not deployed from git'}`,
    {
      hint: 'Name the repository with --repository.',
    },
  )
}

/** Of what is kept for a request that is sent again: a secret is shown once. */
const withoutSecret = <Answer extends { secret: string }>(answer: Answer): Answer => ({ ...answer, secret: '' })

/** Undefined = left as they are; null = off. */
function toRules(given: z.output<typeof PreviewSettings> | null | undefined): PreviewRules | null | undefined {
  if (given === null || given === undefined) return given
  const { ttlSeconds, ...rules } = given
  return { ...rules, ttlMs: ttlSeconds * 1000 }
}

function viewRules(rules: PreviewRules | null) {
  if (rules === null || rules.template === null) return null
  const { ttlMs, template, ...rest } = rules
  return { ...rest, template, ttlSeconds: Math.round(ttlMs / 1000) }
}

const SIGNING_PREFIX = 'whsec_'

/** 256 bits. GitLab's signing tokens have a form of their own; everything else takes any text. */
function drawSecret(provider: WebhookProviderName, isSigning: boolean): string {
  const bytes = randomBytes(32)
  return provider === 'gitlab' && isSigning ? `${SIGNING_PREFIX}${bytes.toString('base64')}` : bytes.toString('base64url')
}

function sealedToken(token: string | null | undefined, { secrets }: ApiDependencies): Buffer | null | undefined {
  return typeof token === 'string' ? Buffer.from(secrets.seal(token)) : token
}

function viewWebhook(record: WebhookRecord, { dependencies, incoming }: RouteContext) {
  const base = dependencies.publicUrl ?? hooksAddress(dependencies.hooksPort, incoming.headers.host)
  return {
    id: record.id,
    project: record.project,
    service: record.service,
    provider: record.provider,
    url: hookUrl(base, record.id),
    repository: record.repository,
    enabled: record.isEnabled,
    checksHeads: record.checksHeads,
    apiUrl: record.apiUrl,
    hasApiToken: record.hasApiToken,
    previews: viewRules(record.previewRules),
    previousSecretUntil: record.previousValidUntil,
    headCheck: record.checksHeads ? { next: record.nextHeadCheckAt, note: record.headCheckNote } : null,
    createdAt: record.createdAt,
    rotatedAt: record.rotatedAt,
  }
}

/** As the caller sees this server; where webhooks have a listener of their own, at its port. */
function hooksAddress(port: number | null, host = 'localhost'): string {
  if (port === null) return `http://${host}`
  return `http://${host.replace(/:\d+$/, '')}:${port}`
}

const hookUrl = (base: string, id: string) => `${base.replace(/\/+$/, '')}/hooks/${id}`

function viewDelivery(record: DeliveryRecord) {
  const { position: _, payloadBytes, decisions, deploymentIds, ...rest } = record
  return {
    id: rest.id,
    webhookId: rest.webhookId,
    deliveryId: rest.deliveryId,
    event: rest.event,
    verdict: rest.verdict,
    code: rest.code,
    reason: rest.reason,
    decisions: [...decisions],
    deploymentIds: [...deploymentIds],
    replayOf: rest.replayOf,
    usedPreviousSecret: rest.usedPreviousSecret,
    bytes: payloadBytes,
    receivedAt: rest.receivedAt,
    decidedAt: rest.decidedAt,
  }
}

/** Through the network, as the git host would: it also shows whether the public address leads here. */
async function sendPing(id: string, { dependencies, incoming }: RouteContext) {
  const found = (await findWebhookSecrets(dependencies.database, [id])).get(id) ?? null
  const sealed = found?.sealedSecrets[0]
  const url = hookUrl(dependencies.publicUrl ?? ownAddress(incoming), id)
  if (found === null || sealed === undefined) return { url, status: null, accepted: false, message: 'the webhook has no secret: rotate it' }
  const rawBody = Buffer.from(JSON.stringify({ object_kind: 'ping', zen: 'a test by Shiplock itself', test: randomId('test') }))
  const headers = dependencies.signHook(found.provider, { id: randomId('test'), event: 'ping', rawBody, secret: dependencies.open(sealed) })
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: new Uint8Array(rawBody),
      redirect: 'manual',
      signal: AbortSignal.timeout(LIMITS.outgoingMs),
    })
    const accepted = response.status === 200 || response.status === 202
    const message = accepted ? 'verified and stored' : await refusalOf(response)
    return { url, status: response.status, accepted, message }
  } catch (error) {
    const cause = (error as { cause?: unknown }).cause ?? error
    return { url, status: null, accepted: false, message: `not reached: ${toShiplockError(cause).message}` }
  }
}

async function refusalOf(response: Response): Promise<string> {
  const said = (await response.json().catch(() => null)) as { code?: string; detail?: string } | null
  return said?.code === undefined ? `something else answers there: HTTP ${response.status}` : `refused: ${said.detail ?? said.code}`
}

/** On which this very request came in. */
function ownAddress({ socket }: IncomingMessage): string {
  const host = socket.localAddress ?? '127.0.0.1'
  return `http://${host.includes(':') && !host.startsWith('::ffff:') ? `[${host}]` : host.replace('::ffff:', '')}:${socket.localPort}`
}

/** Before anything is written. */
function checkRepository(url: string, context: RouteContext): void {
  const source = { kind: 'git' as const, url, ref: null }
  assertMayUse(source, context)
  context.dependencies.validateSource(source)
}
