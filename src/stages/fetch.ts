import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import type { Revision, Source } from '../domain/deployment.ts'
import { isPullRef } from '../domain/preview.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import type { FetchRequest } from '../sources/source.ts'
import { done, type ReadConfig, type Stage, type StageContext } from './stage.ts'

/** Brings the exact source into a fresh directory and reads its configuration. */
export const fetch: Stage = {
  name: 'fetch',

  async run(context) {
    const { source } = context.deployment
    if (source === null) throw new ShiplockError('SOURCE_REFUSED', 'this deployment has no source')
    const fetcher = context.drivers.sources[source.kind]
    if (fetcher === null) throw new ShiplockError('SOURCE_REFUSED', `this server takes no source of kind ${source.kind}`)
    context.crashPoint('fetch.before')
    const { workspace } = context.directories
    // A rerun starts from nothing: half a checkout is not told from a whole one.
    await rm(workspace, { recursive: true, force: true })
    await mkdir(dirname(workspace), { recursive: true })
    const revision = await fetcher.fetch({ ...requestOf(context, source, workspace), credentials: await context.credentials() })
    const { config: read, origin, detected } = await readConfig(context, revision)
    for (const line of [`source: ${describe(revision)}`, `configuration: ${origin}`, ...detected]) context.log('engine', line)
    await assertDeployable(context, read.build.kind)
    const config = revision.kind === 'image' ? read : await pinImage(context, read)
    context.crashPoint('fetch.done-not-recorded')
    return done(describe(revision), { facts: { revision, workspace, config, configOrigin: origin } })
  },

  async undo(context) {
    await rm(context.directories.workspace, { recursive: true, force: true })
  },
}

function requestOf(context: StageContext, source: Source, directory: string): FetchRequest {
  const { deployment, names, signal } = context
  return {
    source,
    commit: deployment.trigger.push?.commit ?? null,
    isExact: isPullRef(deployment.trigger.push?.ref ?? ''),
    directory,
    scope: {
      projectId: deployment.projectId,
      environmentId: deployment.environmentId,
      project: names.project,
      variables: () => context.buildVariables(),
    },
    onLine: (line) => context.log('engine', line),
    signal,
  }
}

async function readConfig({ drivers, names, deployment, directories }: StageContext, revision: Revision): Promise<ReadConfig> {
  if (revision.kind === 'image') return drivers.config.resolveImage({ serviceName: names.service, reference: revision.reference })
  const { configPath, rootDirectory, build = 'auto' } = deployment.options
  return drivers.config.resolveService({ directory: directories.workspace, serviceName: names.service, configPath, rootDirectory, build })
}

/** A configuration that names an image by tag means what the tag means now, in every later stage and every rollback. */
async function pinImage(context: StageContext, config: ServiceConfig): Promise<ServiceConfig> {
  const { image } = context.drivers.sources
  if (config.build.kind !== 'image' || image === null) return config
  const source: Source = { kind: 'image', reference: config.build.reference }
  const revision = await image.fetch(requestOf(context, source, context.directories.workspace))
  if (revision.kind !== 'image') throw new Error('the image source found something else')
  return { ...config, build: { kind: 'image', reference: revision.reference } }
}

/** What can't work is refused before anything is built. */
async function assertDeployable(context: StageContext, kind: keyof StageContext['drivers']['builders']): Promise<void> {
  if (context.drivers.builders[kind] === null) {
    throw new ShiplockError('CONFIG_INVALID', `build: this server's runtime (${context.drivers.runtime.name}) has no builder for ${kind}`, {
      hint: 'Use a recipe (build.buildCommands, build.deployFiles), or configure a container engine on the server.',
    })
  }
  if (kind === 'recipe' || context.drivers.runtime.capabilities.artifacts.includes('image')) return
  const what = kind === 'image' ? 'build.image' : 'build.dockerfile'
  throw new ShiplockError('ENGINE_UNREACHABLE', `${what} needs a container engine, and none answers this server`, {
    hint: 'Start Docker or Podman on the server, or name its socket in SHIPLOCK_CONTAINER_ENGINE; or build with a recipe.',
  })
}

function describe(revision: Revision): string {
  switch (revision.kind) {
    case 'git':
      return `commit ${revision.commit.slice(0, 12)} of ${revision.ref}: ${revision.message.split('\n')[0]} (${revision.author})`
    case 'upload':
      return `upload ${revision.digest.slice(0, 19)}`
    case 'image':
      return `image ${revision.reference}`
  }
}
