import { Pace } from '../core/bounded-work.ts'
import { createRedactorInSlices, redactAll } from '../core/redact.ts'
import type { DeploymentId } from '../domain/ids.ts'
import type { Release } from '../domain/release.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { findRelease } from '../store/sql/releases.ts'
import { builtinVariables, type EngineDependencies } from './dependencies.ts'
import { presentLayers, sealedVariables, secretNamesOf, secretValues } from './variables.ts'

/** One thing that a rollback would change. Values of secrets are never in it (I8). */
export interface Difference {
  readonly kind: 'config' | 'variable' | 'artifact'
  readonly name: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly target: string | null
  readonly current: string | null
}

/**
 * What differs between what is live and the release that would be gone back to: artifact, config, variables. Of a variable that is a
 * secret today, was one when either release was made, or holds the value of one, only the fact is told; a config value is told redacted.
 */
export async function explainRollback(
  dependencies: EngineDependencies,
  target: ServiceEnvironment,
  release: Release,
  variables: 'sealed' | 'current',
): Promise<Difference[]> {
  const { database } = dependencies
  const live = target.liveDeploymentId === null ? null : await findDeployment(database, target.liveDeploymentId as DeploymentId)
  const liveRelease = live?.releaseId == null ? null : await findRelease(database, live.releaseId)
  const now = liveRelease === null ? NOTHING : await sealedVariables(dependencies, database, liveRelease.id)
  const then = await sealedVariables(dependencies, database, release.id)
  const values = variables === 'sealed' ? then.values : await currentVariables(dependencies, target, release)
  const releases = [release.id, ...(liveRelease === null ? [] : [liveRelease.id])]
  const redact = await createRedactorInSlices(await secretValues(dependencies, database, target, releases))
  const hidden = new Set([...now.secretNames, ...then.secretNames, ...(await secretNamesOf(dependencies, database, target, values))])
  const pace = new Pace()
  for (const [name, value] of [...Object.entries(values), ...Object.entries(now.values)]) {
    if (redact(value) !== value) hidden.add(name)
    if (pace.isDue) await pace.rest()
  }
  return [
    ...compare('artifact', { digest: release.artifact.digest }, { digest: liveRelease?.artifact.digest ?? '' }, new Set()),
    ...redactAll(compare('config', flat(release.config), flat(liveRelease?.config ?? {}), new Set()), redact),
    ...compare('variable', values, now.values, hidden),
  ]
}

const NOTHING = { values: {}, secretNames: [] } as const

async function currentVariables(
  dependencies: EngineDependencies,
  target: ServiceEnvironment,
  release: Release,
): Promise<Readonly<Record<string, string>>> {
  const layers = await presentLayers(dependencies, dependencies.database, target, release.config)
  // As an instance would get them; what is Shiplock's own is no difference to speak of.
  const resolved = dependencies.resolveVariables(layers, builtinVariables(target, { id: release.deploymentId }, release.number))
  return Object.fromEntries(Object.entries(resolved).filter(([name]) => !name.startsWith('SHIPLOCK_')))
}

/** `run.env` is left out: its values may be secrets, and they come up as variables. */
function flat(value: unknown, path = ''): Record<string, string> {
  if (path === 'run.env' || path === 'build.env') return {}
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return path === '' ? {} : { [path]: JSON.stringify(value) }
  return Object.assign({}, ...Object.entries(value).map(([key, inner]) => flat(inner, path === '' ? key : `${path}.${key}`)))
}

function compare(
  kind: Difference['kind'],
  target: Readonly<Record<string, string>>,
  current: Readonly<Record<string, string>>,
  hidden: ReadonlySet<string>,
): Difference[] {
  const names = [...new Set([...Object.keys(target), ...Object.keys(current)])].sort()
  return names.flatMap((name): Difference[] => {
    const [then, now] = [target[name], current[name]]
    if (then === now) return []
    const change = then === undefined ? 'removed' : now === undefined ? 'added' : 'changed'
    const isHidden = hidden.has(name)
    return [{ kind, name, change, target: isHidden ? null : (then ?? null), current: isHidden ? null : (now ?? null) }]
  })
}
