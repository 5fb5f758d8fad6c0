import type { DeploymentId } from '../domain/ids.ts'
import type { Release } from '../domain/release.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { findRelease, readSealedVariables } from '../store/sql/releases.ts'
import { readVariableLayers } from '../store/sql/variable-layers.ts'
import type { EngineDependencies } from './dependencies.ts'
import { presentLayers } from './variables.ts'

/** One thing that a rollback would change. Values of secrets are never in it (I8). */
export interface Difference {
  readonly kind: 'config' | 'variable' | 'artifact'
  readonly name: string
  readonly change: 'added' | 'removed' | 'changed'
  readonly target: string | null
  readonly current: string | null
}

/** What differs between what is live and the release that would be gone back to: artifact, config, variables. */
export async function explainRollback(
  dependencies: EngineDependencies,
  target: ServiceEnvironment,
  release: Release,
  variables: 'sealed' | 'current',
): Promise<Difference[]> {
  const { database } = dependencies
  const live = target.liveDeploymentId === null ? null : await findDeployment(database, target.liveDeploymentId as DeploymentId)
  const liveRelease = live?.releaseId == null ? null : await findRelease(database, live.releaseId)
  const now = liveRelease === null ? {} : await sealedVariables(dependencies, liveRelease)
  const then = variables === 'sealed' ? await sealedVariables(dependencies, release) : await currentVariables(dependencies, target, release)
  const secrets = new Set((await readVariableLayers(database, target)).filter((row) => row.secret).map((row) => row.name))
  return [
    ...compare('artifact', { digest: release.artifact.digest }, { digest: liveRelease?.artifact.digest ?? '' }, new Set()),
    ...compare('config', flat(release.config), flat(liveRelease?.config ?? {}), new Set()),
    ...compare('variable', then, now, secrets),
  ]
}

async function sealedVariables(dependencies: EngineDependencies, release: Release): Promise<Record<string, string>> {
  const sealed = await readSealedVariables(dependencies.database, release.id)
  const all = sealed === null ? {} : (JSON.parse(dependencies.sealer.open(sealed)) as Record<string, string>)
  return Object.fromEntries(Object.entries(all).filter(([name]) => !name.startsWith('SHIPLOCK_')))
}

async function currentVariables(
  dependencies: EngineDependencies,
  target: ServiceEnvironment,
  release: Release,
): Promise<Record<string, string>> {
  const layers = await presentLayers(dependencies, dependencies.database, target, release.config)
  return { ...dependencies.resolveVariables(layers, {}) }
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
