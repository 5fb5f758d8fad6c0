import { z } from 'zod'
import { name, serviceName, text } from './primitives.ts'

const RELEASE_NUMBER_MAX = 2_147_483_647
export const releaseNumber = z.number().int().min(1).max(RELEASE_NUMBER_MAX)

export const CreateRollback = z
  .strictObject({
    project: name.optional(),
    environment: name.optional(),
    service: serviceName,
    release: releaseNumber
      .optional()
      .meta({ description: 'Left out = the newest kept release before the live one that has served and did not fail.' }),
    variables: z.enum(['sealed', 'current']).default('sealed').meta({ description: 'As sealed with the release, or as they are today.' }),
    force: z.boolean().default(false).meta({ description: 'Also go to a release whose last attempt failed, or that is live.' }),
    trigger: z
      .strictObject({ kind: z.enum(['cli', 'api', 'agent']).default('api'), note: text(1000).nullable().default(null) })
      .default({ kind: 'api', note: null }),
  })
  .meta({ id: 'CreateRollback' })
export type CreateRollback = z.input<typeof CreateRollback>

/** Secret values are never told; for them `target` and `current` are null and `change` says whether they differ. */
export const RollbackDifference = z
  .strictObject({
    kind: z.enum(['config', 'variable', 'artifact']),
    name: z.string(),
    change: z.enum(['added', 'removed', 'changed']),
    target: z.string().nullable().meta({ description: 'With the release that is gone back to.' }),
    current: z.string().nullable(),
  })
  .meta({ id: 'RollbackDifference' })
export type RollbackDifference = z.infer<typeof RollbackDifference>

export const RollbackPlan = z
  .strictObject({
    service: z.string(),
    from: z.number().int().nullable().meta({ description: 'The live release.' }),
    to: z.number().int(),
    warm: z.boolean().meta({ description: 'Instances of it still stand: the rollback starts them again instead of making new ones.' }),
    differences: z.array(RollbackDifference),
    warnings: z.array(z.string()).meta({ description: 'What is known against that release; none of it forbids the rollback.' }),
  })
  .meta({ id: 'RollbackPlan' })
export type RollbackPlan = z.infer<typeof RollbackPlan>
