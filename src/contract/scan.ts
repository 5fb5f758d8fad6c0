import { z } from 'zod'
import { id, timestamp } from './primitives.ts'

export const SeverityCounts = z
  .strictObject({ critical: z.number(), high: z.number(), medium: z.number(), low: z.number(), unknown: z.number() })
  .meta({ id: 'SeverityCounts' })

const ScanFinding = z
  .strictObject({
    id: z.string(),
    package: z.string(),
    installed: z.string(),
    fixed: z.string().nullable().meta({ description: 'Versions in which it is fixed; null = none yet.' }),
    severity: z.enum(['critical', 'high', 'medium', 'low', 'unknown']),
    target: z.string().meta({ description: 'Where it was found: an operating system, a lock file, a program.' }),
    title: z.string().nullable(),
    url: z.string().nullable(),
    state: z.enum(['blocks', 'warns', 'known', 'waived', 'unfixed', 'ignored', 'counted']).meta({
      description:
        "What the service's policy makes of it today. known: live has it too (block-new); counted: there is no policy for its severity.",
    }),
    waiver: z
      .strictObject({ id: z.string(), reason: z.string(), expires: z.string().nullable(), isExpired: z.boolean() })
      .nullable()
      .meta({ description: 'The waiver that names it, valid or not.' }),
  })
  .meta({ id: 'ScanFinding' })

export const Scan = z
  .strictObject({
    deploymentId: id,
    project: z.string(),
    environment: z.string(),
    service: z.string(),
    outcome: z.enum(['passed', 'warned', 'partial', 'blocked', 'skipped', 'unknown']).meta({
      description:
        'As it was decided then. partial: what was found does not block, and not all was looked into (`gaps`). unknown: nobody has looked, or the scanner recognised nothing. Neither is to be taken for clean.',
    }),
    note: z.string(),
    report: z
      .strictObject({
        deploymentId: id.meta({ description: 'The deployment that scanned: an earlier one of an identical artifact, perhaps.' }),
        scanner: z.string(),
        version: z.string().nullable(),
        databaseAt: timestamp.nullable().meta({ description: 'When the vulnerability database was made.' }),
        scannedAt: timestamp,
        counts: SeverityCounts,
        targets: z.array(z.strictObject({ target: z.string(), kind: z.string(), packages: z.number() })),
        notes: z.array(z.string()),
        gaps: z.array(z.string()).meta({ description: 'What could not be looked into, and why; not empty = the report is partial.' }),
      })
      .nullable()
      .meta({ description: 'null = it was not scanned.' }),
    findings: z.array(ScanFinding).meta({ description: 'Worst first; of a very long list the beginning.' }),
  })
  .meta({ id: 'Scan' })
export type Scan = z.infer<typeof Scan>
