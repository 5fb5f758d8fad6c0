import { z } from 'zod'
import { id, name, text, timestamp } from './primitives.ts'

const nextStep = z.string().meta({ description: 'The one thing to do about it.' })

export const QueueEntry = z
  .strictObject({
    id,
    kind: z.enum(['deploy', 'rollback']),
    status: z.string(),
    stage: z.string().nullable(),
    project: z.string(),
    environment: z.string(),
    service: z.string(),
    createdAt: timestamp,
    startedAt: timestamp.nullable(),
    place: z.number().int().nullable().meta({ description: '1 = next; null once in progress.' }),
    waitsFor: z.string().meta({ description: 'One sentence: what it waits for, or what it does.' }),
    cause: z
      .enum(['freeze', 'hold', 'previous', 'project-limit', 'slot', 'turn'])
      .nullable()
      .meta({ description: 'null once in progress.' }),
    since: timestamp.meta({ description: 'From when on that was so.' }),
    next: nextStep.nullable(),
  })
  .meta({ id: 'QueueEntry' })
export type QueueEntry = z.infer<typeof QueueEntry>

export const Explanation = z
  .strictObject({
    id,
    status: z.string(),
    summary: z.string().meta({ description: 'Where it stands, and why.' }),
    facts: z.array(z.strictObject({ at: timestamp, text: z.string() })).meta({ description: 'What led there, oldest first.' }),
    next: nextStep,
  })
  .meta({ id: 'Explanation', description: 'Why a deployment stands where it stands.' })
export type Explanation = z.infer<typeof Explanation>

export const Freeze = z
  .strictObject({
    id,
    project: z.string(),
    environment: z.string().nullable().meta({ description: 'null = the whole project.' }),
    reason: z.string(),
    until: timestamp.nullable().meta({ description: 'null = until it is lifted.' }),
    createdBy: z.string(),
    createdAt: timestamp,
  })
  .meta({ id: 'Freeze' })
export type Freeze = z.infer<typeof Freeze>

const REASON_CHARACTERS_MAX = 500
export const reason = text(REASON_CHARACTERS_MAX).trim().min(1)
const FREEZE_MS_MAX = 366 * 24 * 3_600_000

export const CreateFreeze = z
  .strictObject({
    project: name.optional(),
    environment: name.optional().meta({ description: 'Left out = the whole project.' }),
    reason,
    until: timestamp.optional(),
    forMs: z
      .number()
      .int()
      .min(1000)
      .max(FREEZE_MS_MAX)
      .optional()
      .meta({ description: "Instead of `until`: from now on, by the database's clock." }),
  })
  .refine(({ until, forMs }) => until === undefined || forMs === undefined, 'takes until or forMs, not both')
  .meta({ id: 'CreateFreeze' })
export type CreateFreeze = z.input<typeof CreateFreeze>

export const LiftedFreeze = z
  .strictObject({ lifted: z.boolean().meta({ description: 'false = there was none.' }) })
  .meta({ id: 'LiftedFreeze' })
