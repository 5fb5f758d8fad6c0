import { Pace } from '../core/bounded-work.ts'
import { createRedactorInSlices } from '../core/redact.ts'
import type { Deployment } from '../domain/deployment.ts'
import type { ReleaseId } from '../domain/ids.ts'
import { REGISTRY_AUTH_VARIABLE } from '../domain/image-reference.ts'
import { holdsCredentials, previewVariables } from '../domain/preview.ts'
import type { Release } from '../domain/release.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import type { Queryable } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { readSealedVariables } from '../store/sql/releases.ts'
import { readVariableLayers } from '../store/sql/variable-layers.ts'
import { builtinVariables, type EngineDependencies, scopeVariables, type VariableLayer } from './dependencies.ts'
import { credentialValues, sourceCredentials } from './source-credentials.ts'

/** The values of the present, with the config file's own keys on top (DESIGN.md §4). */
export async function presentLayers(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  target: ServiceEnvironment,
  config: ServiceConfig,
): Promise<VariableLayer[]> {
  return [...(await setLayers(dependencies, db, target)), { name: 'configuration file', values: config.run.env }]
}

/** What a build may depend on: equal values give an equal build key, so nothing that differs from deployment to deployment is in it. */
export async function buildVariables(
  dependencies: Pick<EngineDependencies, 'sealer' | 'resolveVariables'>,
  db: Queryable,
  target: ServiceEnvironment,
): Promise<Readonly<Record<string, string>>> {
  const builtins = scopeVariables(target)
  return { ...dependencies.resolveVariables(await setLayers(dependencies, db, target), builtins), ...builtins }
}

async function setLayers(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  target: ServiceEnvironment,
): Promise<VariableLayer[]> {
  const rows = await visibleVariables(dependencies, db, target)
  const layer = (name: string, scope: 'project' | 'environment' | 'service'): VariableLayer => ({
    name,
    values: Object.fromEntries(rows.filter((row) => row.scope === scope).map((row) => [row.name, row.value])),
  })
  return [layer('project', 'project'), layer('environment', 'environment'), layer('service', 'service')]
}

/** What the service may know. A preview runs code that nobody has merged: secrets of others are withheld from it (`previewVariables`). */
async function visibleVariables(dependencies: Pick<EngineDependencies, 'sealer'>, db: Queryable, target: ServiceEnvironment) {
  const rows = (await readVariableLayers(db, target)).map((row) => ({ ...row, value: dependencies.sealer.open(row.sealedValue) }))
  const { inherited } = previewVariables(
    rows.map((row) => ({
      ...row,
      isSecret: row.secret && !row.isOwn,
      isForPreviews: row.forPreviews,
      holdsCredentials: !row.isOwn && holdsCredentials(row.value),
    })),
  )
  return inherited
}

/**
 * The complete environment of an instance: as sealed with its release, or of the present for a release that is still to be made and for
 * `variables: current`. The built-in ones always speak of the deployment at hand.
 */
export async function instanceVariables(
  dependencies: Pick<EngineDependencies, 'sealer' | 'resolveVariables'>,
  db: Queryable,
  about: { target: ServiceEnvironment; deployment: Deployment; release: Release | null; config: ServiceConfig },
): Promise<Readonly<Record<string, string>>> {
  return withoutRegistryAuth(await allVariables(dependencies, db, about))
}

/** Credentials for images are the engine's business, not the app's. */
function withoutRegistryAuth({ [REGISTRY_AUTH_VARIABLE]: _, ...variables }: Readonly<Record<string, string>>) {
  return variables
}

async function allVariables(
  dependencies: Pick<EngineDependencies, 'sealer' | 'resolveVariables'>,
  db: Queryable,
  about: { target: ServiceEnvironment; deployment: Deployment; release: Release | null; config: ServiceConfig },
): Promise<Readonly<Record<string, string>>> {
  const builtins = builtinVariables(about.target, about.deployment, about.release?.number ?? null)
  const { kind, options } = about.deployment
  // What a release was made with is what its instances get, at every restart too; only a rollback may opt out (I7).
  if (about.release !== null && (kind === 'deploy' || options.variables === 'sealed')) {
    const sealed = await readSealedVariables(db, about.release.id)
    if (sealed !== null) return { ...openSealed(dependencies, sealed.sealed), ...builtins }
  }
  const layers = await presentLayers(dependencies, db, about.target, about.config)
  return { ...dependencies.resolveVariables(layers, builtins), ...builtins }
}

function openSealed({ sealer }: Pick<EngineDependencies, 'sealer'>, sealed: Uint8Array): Readonly<Record<string, string>> {
  return JSON.parse(sealer.open(sealed)) as Record<string, string>
}

/** The variables that a release was made with, without those that speak of a deployment, and which of them hold secrets. */
export async function sealedVariables(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  release: ReleaseId,
): Promise<{ readonly values: Readonly<Record<string, string>>; readonly secretNames: readonly string[] }> {
  const found = await readSealedVariables(db, release)
  if (found === null) return { values: {}, secretNames: [] }
  const own = Object.entries(openSealed(dependencies, found.sealed)).filter(([name]) => !name.startsWith('SHIPLOCK_'))
  return { values: Object.fromEntries(own), secretNames: found.secretNames }
}

/** Values that must never be shown: today's secrets, those sealed with these releases, which may be others, and credentials of repositories. */
export async function secretValues(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  scope: Pick<Deployment, 'projectId' | 'environmentId' | 'serviceId'>,
  releases: readonly ReleaseId[],
): Promise<string[]> {
  const rows = await readVariableLayers(db, scope)
  const sealed = await Promise.all(releases.map((release) => sealedVariables(dependencies, db, release)))
  const credentials = await sourceCredentials(dependencies, db, scope)
  return [
    ...credentialValues(credentials),
    ...rows.filter((row) => row.secret).map((row) => dependencies.sealer.open(row.sealedValue)),
    ...sealed.flatMap(({ values, secretNames }) => secretNames.flatMap((name) => values[name] ?? [])),
  ]
}

/** Today's secrets of a service in an environment, with what they are called. */
export async function namedSecrets(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  scope: Pick<Deployment, 'projectId' | 'environmentId' | 'serviceId'>,
): Promise<{ readonly name: string; readonly value: string }[]> {
  const rows = (await readVariableLayers(db, scope)).filter((row) => row.secret)
  const { deployKey, tokens } = await sourceCredentials(dependencies, db, scope)
  return [
    ...rows.map(({ name, sealedValue }) => ({ name, value: dependencies.sealer.open(sealedValue) })),
    ...(deployKey === null ? [] : [{ name: 'the deploy key', value: deployKey.privateKey }]),
    ...tokens.map(({ host, token }) => ({ name: `the git token for ${host}`, value: token })),
  ]
}

/** Names of the variables that are secrets, or hold the value of one: `postgres://app:${PASSWORD}@db`. */
export async function secretNamesOf(
  dependencies: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  scope: Pick<Deployment, 'projectId' | 'environmentId' | 'serviceId'>,
  variables: Readonly<Record<string, string>>,
): Promise<string[]> {
  const named = new Set((await readVariableLayers(db, scope)).filter((row) => row.secret).map((row) => row.name))
  const redact = await createRedactorInSlices(await secretValues(dependencies, db, scope, []))
  const pace = new Pace()
  const found: string[] = []
  for (const [name, value] of Object.entries(variables)) {
    if (named.has(name) || redact(value) !== value) found.push(name)
    if (pace.isDue) await pace.rest()
  }
  return found
}
