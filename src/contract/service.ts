import { z } from 'zod'
import { Deployment, Source } from './deployment.ts'
import { id, timestamp } from './primitives.ts'

/** As `LIMITS.instances`, which the contract can't import; a test holds the two together. */
export const INSTANCES_MAX = 10

export const Hold = z
  .strictObject({ reason: z.string(), since: timestamp, by: z.string() })
  .meta({ id: 'Hold', description: 'Automatic deployments wait until the next manual one, or until it is released.' })

export const Removing = z
  .strictObject({ since: timestamp, by: z.string() })
  .meta({ id: 'Removing', description: 'On its way out: nothing new is deployed there, and what is left is being taken away.' })

export const Instance = z
  .strictObject({
    id,
    index: z.number().int(),
    state: z.enum(['starting', 'ready', 'serving', 'warm', 'standby', 'removed']),
    release: z.number().int(),
    deploymentId: id,
    address: z.string().nullable(),
    restarts: z.number().int(),
    standbyUntil: timestamp.nullable(),
  })
  .meta({ id: 'Instance' })
export type Instance = z.infer<typeof Instance>

export const Service = z
  .strictObject({
    id,
    project: z.string(),
    environment: z.string(),
    service: z.string(),
    host: z.string(),
    url: z.string(),
    source: Source.nullable().meta({
      description: 'Where the next deployment in this environment takes its code from unless told otherwise.',
    }),
    live: z.strictObject({ release: z.number().int().nullable(), deploymentId: id, since: timestamp.nullable() }).nullable(),
    hold: Hold.nullable(),
    removing: Removing.nullable(),
    instances: z.strictObject({
      serving: z.number().int(),
      starting: z.number().int(),
      standby: z.number().int(),
      wanted: z.number().int().nullable().meta({ description: 'How many should serve; null while nothing is live and nothing was said.' }),
      scaledTo: z.number().int().nullable().meta({ description: 'Set by scale, whatever the configuration says; null = as it says.' }),
    }),
    lastDeployment: z
      .strictObject({
        id,
        kind: z.enum(['deploy', 'rollback']),
        status: z.string(),
        stage: z.string().nullable(),
        createdAt: timestamp,
        settled: z.boolean(),
      })
      .nullable(),
  })
  .meta({ id: 'Service' })
export type Service = z.infer<typeof Service>

export const ScaleService = z
  .strictObject({
    instances: z
      .number()
      .int()
      .min(1)
      .max(INSTANCES_MAX)
      .nullable()
      .meta({ description: `1 to ${INSTANCES_MAX}; null = as the configuration says again.` }),
  })
  .meta({ id: 'ScaleService' })
export type ScaleService = z.infer<typeof ScaleService>

export const ServiceDetail = z
  .strictObject({
    ...Service.shape,
    pushes: z
      .strictObject({
        branch: z.string().nullable().meta({ description: 'Pushes to it deploy; null = to the repository’s default branch.' }),
        tags: z.string().nullable(),
        watch: z.array(z.string()),
        queue: z.enum(['every', 'latest']),
      })
      .nullable()
      .meta({
        description: 'Which pushes deploy here, as what is live here says; null = it is a preview, which follows its pull request.',
      }),
    instanceList: z.array(Instance),
    liveDeployment: Deployment.nullable(),
    latestDeployment: Deployment.nullable(),
  })
  .meta({ id: 'ServiceDetail' })
export type ServiceDetail = z.infer<typeof ServiceDetail>
