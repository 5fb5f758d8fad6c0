import { z } from 'zod'
import { digest, id, name, serviceName, text, timestamp } from './primitives.ts'

export const Source = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('git'), url: text(2048).min(1), ref: text(200).nullable().default(null) }),
    z.strictObject({ kind: z.literal('upload'), digest, label: text(200).nullable().default(null) }),
    z.strictObject({ kind: z.literal('image'), reference: text(512).min(1) }),
  ])
  .meta({ id: 'Source', description: 'Where the code comes from.' })
export type Source = z.infer<typeof Source>

export const Revision = z
  .discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('git'), commit: z.string(), message: z.string(), author: z.string(), ref: z.string() }),
    z.strictObject({ kind: z.literal('upload'), digest: z.string() }),
    z.strictObject({ kind: z.literal('image'), digest: z.string(), reference: z.string() }),
  ])
  .meta({ id: 'Revision', description: 'The exact source that was found.' })
export type Revision = z.infer<typeof Revision>

export const Trigger = z
  .strictObject({
    kind: z.enum(['cli', 'api', 'webhook', 'schedule', 'agent']),
    actor: z.string(),
    note: z.string().nullable(),
    push: z
      .strictObject({
        provider: z.string(),
        deliveryId: z.string(),
        ref: z.string(),
        commit: z.string().nullable(),
        author: z.string().nullable(),
        message: z.string().nullable(),
      })
      .nullish()
      .meta({ description: 'The push that set it off.' }),
  })
  .meta({ id: 'Trigger' })

export const ProbeAttempt = z
  .strictObject({
    at: z.string(),
    instanceId: z.string(),
    address: z.string(),
    outcome: z.enum(['passed', 'failed']),
    result: z.string().meta({ description: 'HTTP status, exit code or errno, in words.' }),
    body: z.string().nullable(),
    tookMs: z.number(),
  })
  .meta({ id: 'ProbeAttempt' })

export const DeploymentError = z
  .strictObject({
    code: z.string(),
    message: z.string(),
    hint: z.string(),
    stage: z.string().nullable(),
    logTail: z.array(z.string()),
    attempts: z.array(ProbeAttempt),
  })
  .meta({ id: 'DeploymentError' })

export const SwapReceipt = z
  .strictObject({
    requests: z.number(),
    failures: z.number(),
    longestStallMs: z.number(),
    drainedConnections: z.number(),
    cutConnections: z.number(),
    flipMs: z.number(),
    drainMs: z.number(),
    gapMs: z.number().nullable(),
  })
  .meta({ id: 'SwapReceipt', description: 'What the edge saw from the swap until the drain ended.' })
export type SwapReceipt = z.infer<typeof SwapReceipt>

export const StageTiming = z
  .strictObject({
    stage: z.string(),
    /** null while it runs. */
    outcome: z.enum(['done', 'skipped', 'failed', 'canceled']).nullable(),
    reason: z.string().nullable(),
    startedAt: timestamp,
    finishedAt: timestamp.nullable(),
    tookMs: z.number().nullable(),
  })
  .meta({ id: 'StageTiming' })
export type StageTiming = z.infer<typeof StageTiming>

export const DeploymentStatus = z
  .enum(['pending', 'cloning', 'building', 'deploying', 'running', 'failed', 'canceled', 'superseded', 'rolled_back'])
  .meta({ id: 'DeploymentStatus' })

export const Deployment = z
  .strictObject({
    id,
    project: z.string(),
    environment: z.string(),
    service: z.string(),
    kind: z.enum(['deploy', 'rollback']),
    status: DeploymentStatus,
    stage: z.string().nullable(),
    statusReason: z.string().meta({ description: 'One sentence for people.' }),
    error: DeploymentError.nullable(),
    settled: z.boolean().meta({ description: 'Nothing more will happen by itself.' }),
    cancelRequested: z.boolean(),
    replacedBy: z.string().nullable(),
    release: z.number().int().nullable().meta({ description: 'Number of the release that it made or goes back to.' }),
    revision: Revision.nullable(),
    source: Source.nullable(),
    trigger: Trigger,
    detected: z.string().nullable().meta({ description: 'Where the configuration came from.' }),
    scan: z
      .strictObject({
        outcome: z.enum(['passed', 'warned', 'partial', 'blocked', 'skipped', 'unknown']),
        note: z.string(),
        critical: z.number(),
        high: z.number(),
        medium: z.number(),
        low: z.number(),
      })
      .nullable(),
    warnings: z.array(z.string()),
    receipt: SwapReceipt.nullable(),
    bakeMs: z.number().nullable().meta({ description: 'How long the new version is watched after the swap.' }),
    instances: z.number().int().nullable(),
    url: z.string(),
    stages: z.array(StageTiming),
    createdAt: timestamp,
    startedAt: timestamp.nullable(),
    settledAt: timestamp.nullable(),
  })
  .meta({ id: 'Deployment' })
export type Deployment = z.infer<typeof Deployment>

/** A path inside the source: relative, without a step up. */
const insidePath = text(512)
  .min(1)
  .refine((path) => !path.startsWith('/') && !path.split('/').includes('..'), 'must stay inside the source')

export const CreateDeployment = z
  .strictObject({
    project: name.optional(),
    environment: name.optional(),
    service: serviceName,
    source: Source.optional().meta({ description: 'Left out = where the service took its code from last in this environment.' }),
    trigger: z
      .strictObject({ kind: z.enum(['cli', 'api', 'agent']).default('api'), note: text(1000).nullable().default(null) })
      .default({ kind: 'api', note: null }),
    options: z
      .strictObject({
        rebuild: z.boolean().default(false),
        autoRollback: z.boolean().nullable().default(null),
        configPath: insidePath.nullable().default(null),
        rootDirectory: insidePath.nullable().default(null),
        build: z.enum(['auto', 'dockerfile', 'recipe']).default('auto').meta({
          description: 'What to build where the configuration leaves it open; auto takes a Dockerfile if a container engine answers.',
        }),
        overrideFreeze: text(500)
          .trim()
          .min(1)
          .nullable()
          .default(null)
          .meta({ description: 'Why it may start although its environment is frozen.' }),
      })
      .default({ rebuild: false, autoRollback: null, configPath: null, rootDirectory: null, build: 'auto', overrideFreeze: null }),
  })
  .meta({ id: 'CreateDeployment' })
export type CreateDeployment = z.input<typeof CreateDeployment>
