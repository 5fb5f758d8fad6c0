import { z } from 'zod'
import { Revision, Trigger } from './deployment.ts'
import { id, timestamp } from './primitives.ts'
import { SeverityCounts } from './scan.ts'

export const Release = z
  .strictObject({
    id,
    number: z.number().int(),
    service: z.string(),
    environment: z.string(),
    project: z.string(),
    deploymentId: id.meta({ description: 'The deployment that made it.' }),
    revision: Revision,
    artifact: z.strictObject({ kind: z.enum(['tree', 'image']), digest: z.string(), bytes: z.number().nullable() }),
    trigger: Trigger,
    scan: z
      .strictObject({
        counts: SeverityCounts,
        scannedAt: timestamp,
        isPartial: z.boolean().meta({ description: 'Not all was looked into.' }),
        deploymentId: id,
      })
      .nullable()
      .meta({ description: 'The newest scan of its artifact; null = it was never scanned.' }),
    live: z.boolean(),
    pinned: z.boolean(),
    kept: z.boolean().meta({ description: 'False once retention has deleted its artifact: the record stays.' }),
    standby: z.boolean().meta({ description: 'Its instances still stand, so a rollback to it is a restart.' }),
    lastStatus: z.string().nullable().meta({ description: 'Status of the last deployment that had this release as its target.' }),
    firstLiveAt: timestamp.nullable(),
    createdAt: timestamp,
  })
  .meta({ id: 'Release' })
export type Release = z.infer<typeof Release>
