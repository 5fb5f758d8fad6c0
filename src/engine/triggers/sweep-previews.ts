import { LIMITS } from '../../core/limits.ts'
import { listEndedPreviews, wakeWaiting } from '../../store/sql/previews.ts'
import { beginEnvironmentRemoval } from '../../store/sql/removals.ts'
import { Periodic } from '../periodic.ts'
import type { TriggerDependencies } from './dependencies.ts'

/** Previews whose end no event has told: their time is over, or nobody listens to their pull request any more. */
export function createPreviewSweep(dependencies: TriggerDependencies): Periodic {
  return new Periodic('sweep of previews', LIMITS.previewSweepMs, dependencies, () => sweepPreviews(dependencies))
}

export async function sweepPreviews({ database, logger }: Pick<TriggerDependencies, 'database' | 'logger'>): Promise<void> {
  for (const { environmentId, reason } of await listEndedPreviews(database)) {
    await database.transaction((tx) => beginEnvironmentRemoval(tx, environmentId, { by: 'shiplock', isCanceling: true, reason }))
    logger.info('a preview is being removed', { environmentId, reason })
  }
  await wakeWaiting(database, LIMITS.previewApprovalKeptMs)
}
