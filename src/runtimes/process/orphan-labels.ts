import { readFileSync } from 'node:fs'
import type { DeploymentId, ProjectId, ReleaseId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Labels } from '../runtime.ts'
import { LABELS_VARIABLE } from './supervisor.ts'

const UNKNOWN: Labels = {
  projectId: '' as ProjectId,
  serviceEnvironmentId: '' as ServiceEnvironmentId,
  deploymentId: '' as DeploymentId,
  releaseId: '' as ReleaseId,
  title: 'unknown',
}

/** Labels of processes whose directory is lost, from the environment they were started with; `unknown` with empty ids when none tells. */
export function orphanLabels(pids: readonly number[]): Labels {
  for (const pid of pids) {
    const labels = labelsOf(pid)
    if (labels !== null) return labels
  }
  return UNKNOWN
}

/** `project/environment/service` of a process that an instance of ours runs; null for others. */
export function titleOf(pid: number): string | null {
  const labels = labelsOf(pid)
  return labels === null ? null : `${labels.title} (deployment ${labels.deploymentId}, pid ${pid})`
}

function labelsOf(pid: number): Labels | null {
  try {
    const prefix = `${LABELS_VARIABLE}=`
    const entry = readFileSync(`/proc/${pid}/environ`, 'utf8')
      .split('\0')
      .find((candidate) => candidate.startsWith(prefix))
    return entry === undefined ? null : { ...UNKNOWN, ...(JSON.parse(entry.slice(prefix.length)) as Labels) }
  } catch {
    return null
  }
}
