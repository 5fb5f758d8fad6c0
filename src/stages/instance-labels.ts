import type { InstanceId } from '../domain/ids.ts'
import type { Labels } from '../runtimes/runtime.ts'
import type { StageContext } from './stage.ts'

export function labelsOf(context: StageContext): Labels {
  const { deployment, names, release } = context
  if (release === null) throw new Error('an instance was asked for before there was a release')
  return {
    projectId: deployment.projectId,
    environmentId: deployment.environmentId,
    serviceEnvironmentId: deployment.serviceEnvironmentId,
    deploymentId: deployment.id,
    releaseId: release.id,
    title: `${names.project}/${names.environment}/${names.service}`,
  }
}

/** Last lines that an instance printed, oldest first. Never fails: it explains another failure. */
export async function logTailOf(context: Pick<StageContext, 'drivers'>, id: InstanceId, lines: number): Promise<string[]> {
  const tail: string[] = []
  try {
    const options = { after: null, tail: lines, follow: false, signal: AbortSignal.timeout(LOG_TAIL_TIMEOUT_MS) }
    for await (const line of context.drivers.runtime.logs(id, options)) tail.push(line.text)
  } catch {
    tail.push('(the log of this instance could not be read)')
  }
  return tail
}
const LOG_TAIL_TIMEOUT_MS = 3000
