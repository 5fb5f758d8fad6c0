import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/log.ts'
import type { Sealer } from '../core/seal.ts'
import type { Deployment } from '../domain/deployment.ts'
import type { Digest } from '../domain/ids.ts'
import type { Drivers } from '../stages/stage.ts'
import type { Database } from '../store/database.ts'
import type { Owner } from '../store/sql/leases.ts'

/** Layers of variables, widest first; later ones win. */
export interface VariableLayer {
  readonly name: string
  readonly values: Readonly<Record<string, string>>
}

/** What the engine is made of; `main.ts` puts it together. */
export interface EngineDependencies {
  readonly database: Database
  readonly drivers: Drivers
  readonly owner: Owner
  readonly sealer: Sealer
  readonly clock: Clock
  readonly logger: Logger
  /** Parent of the workspaces, scratch and cache directories. */
  readonly workDirectory: string
  /** Archives that were sent; the reaper takes old ones away. */
  readonly uploads: {
    list(): Promise<readonly { readonly digest: Digest; readonly receivedAt: number }[]>
    remove(digest: Digest): Promise<void>
  }
  readonly slots: number
  readonly buildTimeoutMs: number
  /** Resolves `${name}` references over the layers; throws VARIABLE_UNRESOLVED. */
  resolveVariables(layers: readonly VariableLayer[], builtins: Readonly<Record<string, string>>): Readonly<Record<string, string>>
}

/** The variables that Shiplock itself sets; PORT and SHIPLOCK_INSTANCE are the runtime's. */
export function builtinVariables(
  names: { readonly project: string; readonly environment: string; readonly service: string },
  deployment: Pick<Deployment, 'id'>,
  releaseNumber: number | null,
): Record<string, string> {
  return {
    ...scopeVariables(names),
    SHIPLOCK_DEPLOYMENT: deployment.id,
    ...(releaseNumber === null ? {} : { SHIPLOCK_RELEASE: `v${releaseNumber}` }),
  }
}

/** Those of them that say where, not what. */
export function scopeVariables(names: {
  readonly project: string
  readonly environment: string
  readonly service: string
}): Record<string, string> {
  return { SHIPLOCK_PROJECT: names.project, SHIPLOCK_ENVIRONMENT: names.environment, SHIPLOCK_SERVICE: names.service }
}
