import type { Labels } from './runtime.ts'

/** Whose network an instance is in, and how its siblings call it. */
export interface NetworkPlace {
  /** Of the project AND environment: `api` in staging must never reach the `db` of production. */
  readonly key: string
  /** Names for people; '' where the labels are none of ours. */
  readonly project: string
  readonly environment: string
  /** The service's name where that is one for a host; null otherwise. */
  readonly alias: string | null
}

/** Titles are `project/environment/service`. */
export function environmentOf(labels: Labels): NetworkPlace {
  const [project = '', environment = '', service = null] = labels.title.split('/')
  const key = service === null ? labels.serviceEnvironmentId : `${labels.projectId}/${environment}`
  return { key, project, environment, alias: service !== null && /^[a-z0-9-]{1,63}$/.test(service) ? service : null }
}
