import type { EnvironmentId, ProjectId } from './ids.ts'

/**
 * Whose code runs. Environments of one project are as strange to each other as projects are: a preview holds code that nobody has
 * merged yet, and production's secrets are none of its business.
 */
export interface Tenant {
  readonly projectId: ProjectId
  /** null = of the project as a whole: what was launched before environments were told apart. */
  readonly environmentId: EnvironmentId | null
}
