import { z } from 'zod'
import { PreviewSettings } from './preview.ts'
import { id, name, serviceName, text, timestamp } from './primitives.ts'

const webUrl = text(2048).regex(/^https?:\/\/[^\s]+$/i, 'is not an http(s) URL')

export const Webhook = z
  .strictObject({
    id,
    project: z.string(),
    service: z.string(),
    provider: z.enum(['github', 'gitlab', 'gitea']),
    url: z.string().meta({ description: 'Where the git host sends to.' }),
    repository: z.string().meta({ description: 'Where code is fetched from; never an address of a payload.' }),
    enabled: z.boolean(),
    checksHeads: z.boolean().meta({ description: 'A periodic look at the branch heads finds pushes that never arrived.' }),
    apiUrl: z.string().nullable(),
    hasApiToken: z.boolean().meta({ description: 'Commit statuses are sent.' }),
    previousSecretUntil: timestamp.nullable().meta({ description: 'Until then the secret before the last rotation is good, too.' }),
    previews: PreviewSettings.nullable().meta({ description: 'null = pull requests are left alone.' }),
    headCheck: z.strictObject({ next: timestamp, note: z.string().nullable() }).nullable(),
    createdAt: timestamp,
    rotatedAt: timestamp.nullable(),
  })
  .meta({ id: 'Webhook' })
export type Webhook = z.infer<typeof Webhook>

export const WebhookWithSecret = z
  .strictObject({ webhook: Webhook, secret: z.string().meta({ description: 'Shown once.' }) })
  .meta({ id: 'WebhookWithSecret' })
export type WebhookWithSecret = z.infer<typeof WebhookWithSecret>

const settings = {
  checksHeads: z.boolean().optional(),
  apiUrl: webUrl.nullable().optional().meta({ description: 'Base address of the git host’s API; left out = that of its public service.' }),
  previews: PreviewSettings.nullable().optional(),
  apiToken: text(1000).min(1).nullable().optional().meta({ description: 'With it commit statuses are sent. Never shown again.' }),
}

export const CreateWebhook = z
  .strictObject({
    project: name.optional(),
    environment: name.optional().meta({ description: 'Of a service that is made with it; left out = the default one.' }),
    service: serviceName,
    provider: z.enum(['github', 'gitlab', 'gitea']),
    signing: z.boolean().optional().meta({ description: 'GitLab: a signing token in place of a secret token, where the host has them.' }),
    repository: text(2048)
      .min(1)
      .optional()
      .meta({ description: 'Left out = where the service took its code from last in that environment.' }),
    ...settings,
  })
  .meta({ id: 'CreateWebhook' })
export type CreateWebhook = z.input<typeof CreateWebhook>

export const UpdateWebhook = z
  .strictObject({ enabled: z.boolean().optional(), repository: text(2048).min(1).optional(), ...settings })
  .meta({ id: 'UpdateWebhook' })

const OVERLAP_SECONDS_MAX = 7 * 24 * 3600
const OVERLAP_SECONDS_DEFAULT = 24 * 3600
export const RotateWebhook = z
  .strictObject({
    overlapSeconds: z
      .number()
      .int()
      .min(0)
      .max(OVERLAP_SECONDS_MAX)
      .default(OVERLAP_SECONDS_DEFAULT)
      .meta({ description: 'How long the old secret stays good; 0 = it ends at once.' }),
  })
  .meta({ id: 'RotateWebhook' })

export const DeliveryDecision = z
  .strictObject({
    environment: z.string(),
    verdict: z.enum(['queued', 'skipped']),
    code: z.string().nullable(),
    reason: z.string(),
    final: z.boolean().meta({ description: 'False: decided again when what speaks against it ends.' }),
    deploymentId: id.nullable(),
  })
  .meta({ id: 'DeliveryDecision' })

export const Delivery = z
  .strictObject({
    id,
    webhookId: id,
    deliveryId: z.string().meta({ description: 'As the git host gave it.' }),
    event: z.string(),
    verdict: z.enum(['received', 'queued', 'skipped', 'duplicate', 'ignored', 'refused', 'failed']),
    code: z.string().nullable(),
    reason: z.string(),
    decisions: z.array(DeliveryDecision),
    deploymentIds: z.array(id),
    replayOf: id.nullable(),
    usedPreviousSecret: z.boolean(),
    bytes: z.number().int(),
    receivedAt: timestamp,
    decidedAt: timestamp.nullable(),
  })
  .meta({ id: 'Delivery' })
export type Delivery = z.infer<typeof Delivery>

export const WebhookTest = z
  .strictObject({
    url: z.string(),
    status: z.number().int().nullable().meta({ description: 'HTTP status of our own answer; null = it was not reached.' }),
    accepted: z.boolean(),
    message: z.string(),
  })
  .meta({ id: 'WebhookTest' })
