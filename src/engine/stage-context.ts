import { crashPoint } from '../core/crash-points.ts'
import type { Instance } from '../domain/deployment.ts'
import type { InstanceSpec } from '../runtimes/runtime.ts'
import { artifactDirectoryOf, runtimeSupportOf } from '../stages/artifact.ts'
import type { StageContext } from '../stages/stage.ts'
import type { Queryable } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { findRelease, findReleaseByBuildKey } from '../store/sql/releases.ts'
import { findLiveScan, findScanOf } from '../store/sql/scans.ts'
import type { EngineDependencies } from './dependencies.ts'
import type { LogWriter } from './log-writer.ts'
import { sourceCredentials } from './source-credentials.ts'
import { buildVariables, instanceVariables, namedSecrets } from './variables.ts'
import { directoriesOf, type Work } from './work.ts'

/** What a stage gets to see of the engine. Reads only: what a stage did comes back as its outcome. */
export function stageContext(
  dependencies: EngineDependencies,
  work: Work,
  log: LogWriter,
  signal: AbortSignal,
  fence = work.lease.fence,
): StageContext {
  const { database, clock, drivers } = dependencies
  const { deployment, target } = work
  return {
    deployment,
    facts: deployment.facts,
    names: { project: target.project, environment: target.environment, service: target.service },
    host: target.host,
    release: work.release,
    instances: work.instances,
    others: work.others,
    fence,
    signal,
    drivers,
    clock,
    directories: directoriesOf(dependencies, deployment),
    variables: () => {
      if (deployment.facts.config === null) throw new Error('variables were asked for before the configuration was read')
      return instanceVariables(dependencies, database, { target, deployment, release: work.release, config: deployment.facts.config })
    },
    buildVariables: () => buildVariables(dependencies, database, target),
    secrets: () => namedSecrets(dependencies, database, deployment),
    credentials: () => sourceCredentials(dependencies, database, deployment),
    findRelease: (buildKey) => findReleaseByBuildKey(database, target.id, buildKey),
    findScan: (subject) => findScanOf(database, target.projectId, subject),
    findLiveScan: () => findLiveScan(database, target.id, target.projectId),
    specOf: (instance) => instanceSpec(dependencies, database, target, instance),
    readinessOf: async (instance) => {
      const release = await findRelease(database, instance.releaseId)
      if (release === null) throw new Error(`instance ${instance.id} has no release`)
      return release.config.deploy.readinessCheck
    },
    sinceSwapMs: () => work.sinceSwapMs + (clock.monotonic() - work.loadedAt),
    log: (stream, text, source) => log.write(stream, text, source ?? null),
    crashPoint,
  }
}

/** Everything the runtime needs to start an instance: the artifact, config and variables of ITS release, for ITS deployment. */
export async function instanceSpec(
  dependencies: EngineDependencies,
  db: Queryable,
  target: ServiceEnvironment,
  instance: Instance,
): Promise<InstanceSpec> {
  const release = await findRelease(db, instance.releaseId)
  const deployment = await findDeployment(db, instance.deploymentId)
  if (release === null || deployment === null) throw new Error(`instance ${instance.id} has no release`)
  const { run, deploy } = release.config
  return {
    id: instance.id,
    labels: {
      projectId: target.projectId,
      environmentId: target.environmentId,
      serviceEnvironmentId: target.id,
      deploymentId: instance.deploymentId,
      releaseId: release.id,
      title: `${target.project}/${target.environment}/${target.service}`,
    },
    artifact: release.artifact,
    artifactDirectory: await artifactDirectoryOf(dependencies.drivers, release.artifact),
    ...(await runtimeSupportOf(dependencies.drivers, target.id, release.artifact, release.config)),
    initCommands: run.initCommands,
    initFailure: run.initFailure,
    startCommands: run.startCommands,
    staticRoot: run.staticRoot,
    ...(run.site === undefined ? {} : { site: run.site }),
    host: target.host,
    port: run.port,
    env: await instanceVariables(dependencies, db, { target, deployment, release, config: release.config }),
    cpu: run.cpu,
    memoryMb: run.memoryMb,
    diskMb: run.diskMb ?? null,
    ociRuntime: run.ociRuntime,
    stopTimeoutMs: deploy.stopTimeoutMs,
  }
}
