import { z } from 'zod'
import { timestamp } from './primitives.ts'

export const Event = z
  .strictObject({
    sequence: z.number().int().meta({ description: 'Place in the log; give it back as `after` or Last-Event-ID to continue.' }),
    at: timestamp,
    type: z.string(),
    message: z.string(),
    project: z.string().nullable(),
    environment: z.string().nullable(),
    service: z.string().nullable(),
    deploymentId: z.string().nullable(),
    instanceId: z.string().nullable(),
    data: z.record(z.string(), z.unknown()),
    terminal: z.boolean().meta({ description: 'The last event that this deployment will have by itself.' }),
  })
  .meta({ id: 'Event' })
export type Event = z.infer<typeof Event>

export const LogLine = z
  .strictObject({
    sequence: z.number().int(),
    at: timestamp,
    stream: z.enum(['engine', 'command', 'build', 'release', 'instance']),
    source: z.string().nullable(),
    text: z.string(),
  })
  .meta({ id: 'LogLine' })
export type LogLine = z.infer<typeof LogLine>

export const InstanceLine = z
  .strictObject({ instance: z.string(), release: z.number().int().nullable(), offset: z.number().int(), at: z.string(), text: z.string() })
  .meta({ id: 'InstanceLine' })
export type InstanceLine = z.infer<typeof InstanceLine>

/** The last event of every stream that ends: `event: end`. */
export const StreamEnd = z.strictObject({ reason: z.string(), status: z.string().nullable() }).meta({ id: 'StreamEnd' })
export type StreamEnd = z.infer<typeof StreamEnd>
