import { z } from 'zod'
import { id, name, text, timestamp } from './primitives.ts'

/** What a target may be told about. */
export const TOLD = ['running', 'failed', 'rolled_back'] as const

export const NotificationTarget = z
  .strictObject({
    id,
    project: z.string(),
    environment: z.string().nullable().meta({ description: 'null = all of the project.' }),
    name: z.string(),
    kind: z.enum(['webhook', 'slack']),
    address: z.string().meta({ description: 'Host of the URL; the rest of it is a secret.' }),
    told: z.array(z.enum(TOLD)),
    last: z.strictObject({ state: z.string(), about: z.string(), at: timestamp, error: z.string().nullable() }).nullable(),
    createdAt: timestamp,
  })
  .meta({ id: 'NotificationTarget' })
export type NotificationTarget = z.infer<typeof NotificationTarget>

export const NotificationTargetWithSecret = z
  .strictObject({
    target: NotificationTarget,
    secret: z.string().nullable().meta({ description: 'Key of the signatures, shown once; null for Slack.' }),
  })
  .meta({ id: 'NotificationTargetWithSecret' })

export const CreateNotificationTarget = z
  .strictObject({
    project: name.optional(),
    environment: name.nullable().optional(),
    name: text(100).default(''),
    kind: z.enum(['webhook', 'slack']),
    url: text(2048).regex(/^https?:\/\/[^\s]+$/i, 'is not an http(s) URL'),
    told: z
      .array(z.enum(TOLD))
      .min(1)
      .max(TOLD.length)
      .default([...TOLD]),
  })
  .meta({ id: 'CreateNotificationTarget' })

export const NotificationTest = z.strictObject({ sent: z.boolean(), message: z.string() }).meta({ id: 'NotificationTest' })
