import { z } from 'zod'
import { name, serviceName, text, timestamp } from './primitives.ts'

export const Health = z.strictObject({ status: z.enum(['ok', 'degraded']), version: z.string() }).meta({ id: 'Health' })
export type Health = z.infer<typeof Health>

export const Finding = z
  .strictObject({
    name: z.string(),
    status: z.enum(['ok', 'warning', 'failed']),
    summary: z.string(),
    hint: z.string().nullable(),
  })
  .meta({ id: 'Finding' })
export type Finding = z.infer<typeof Finding>

export const ServerView = z
  .strictObject({
    version: z.string(),
    startedAt: timestamp,
    slots: z.number().int().meta({ description: 'MAX_CONCURRENT_BUILDS.' }),
    artifacts: z.array(z.enum(['tree', 'image'])).meta({ description: 'What it runs now: images where a container engine answers.' }),
    defaults: z.strictObject({ project: z.string(), environment: z.string() }),
    queue: z.strictObject({ pending: z.number().int(), inProgress: z.number().int() }),
    checks: z.array(Finding),
    servers: z
      .array(
        z.strictObject({
          id: z.string(),
          name: z.string().meta({ description: 'Of its host.' }),
          isThis: z.boolean(),
          isAlive: z.boolean(),
          isWorking: z.boolean().meta({ description: 'false = it stands by: it answers, and takes over when the one that works ends.' }),
          startedAt: timestamp,
        }),
      )
      .meta({ description: 'All that share the database; empty for tokens of a project.' }),
  })
  .meta({ id: 'Server' })
export type ServerView = z.infer<typeof ServerView>

export const Upload = z.strictObject({ digest: z.string(), bytes: z.number().int(), project: z.string() }).meta({ id: 'Upload' })
export type Upload = z.infer<typeof Upload>

export const variableName = z
  .string()
  .max(128)
  .regex(/^[A-Za-z_][A-Za-z0-9_]*$/, 'is not a variable name: letters, digits and _, not beginning with a digit')
const VALUE_CHARACTERS_MAX = 65_536

/** Where a variable counts: project < environment < service; null = the wider scope. */
export const Variable = z
  .strictObject({
    name: z.string(),
    project: z.string(),
    environment: z.string().nullable(),
    service: z.string().nullable(),
    secret: z.boolean(),
    forPreviews: z.boolean().meta({ description: 'Reaches previews, also as a secret.' }),
    redacted: z
      .boolean()
      .meta({ description: 'Whether its value is hidden in logs: it is a secret, and long enough to be told from ordinary words.' }),
    fingerprint: z.string().nullable().meta({ description: 'Equal for equal values of the same name in a project; tells nothing else.' }),
    setBy: z.string().nullable(),
    updatedAt: timestamp,
  })
  .meta({ id: 'Variable', description: 'The value is never told.' })
export type Variable = z.infer<typeof Variable>

export const VariableValue = z
  .strictObject({
    name: z.string(),
    project: z.string(),
    environment: z.string().nullable(),
    service: z.string().nullable(),
    secret: z.boolean(),
    value: z.string().nullable().meta({ description: 'As it was set, references and all; null for a secret.' }),
  })
  .meta({ id: 'VariableValue' })
export type VariableValue = z.infer<typeof VariableValue>

export const SetVariables = z
  .strictObject({
    project: name.optional(),
    environment: name.nullable().default(null),
    service: serviceName.nullable().default(null),
    secret: z.boolean().default(false),
    forPreviews: z.boolean().optional().meta({ description: 'Also a secret reaches previews; left out = as it was, at first not.' }),
    variables: z
      .record(variableName, text(VALUE_CHARACTERS_MAX))
      .refine((variables) => Object.keys(variables).length >= 1 && Object.keys(variables).length <= 200, 'must name 1 to 200 variables'),
  })
  .meta({ id: 'SetVariables' })
export type SetVariables = z.input<typeof SetVariables>
