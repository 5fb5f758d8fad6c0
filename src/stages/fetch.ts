import { mkdir, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import type { Revision } from '../domain/deployment.ts'
import { done, type Stage, type StageContext } from './stage.ts'

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
    const revision = await fetcher.fetch({
      source,
      directory: workspace,
      credentials: await context.credentials(),
      onLine: (line) => context.log('engine', line),
      signal: context.signal,
    })
    const { config, origin, detected } = await context.drivers.config.resolveService({
      directory: workspace,
      serviceName: context.names.service,
      configPath: context.deployment.options.configPath,
      rootDirectory: context.deployment.options.rootDirectory,
    })
    for (const line of [`source: ${describe(revision)}`, `configuration: ${origin}`, ...detected]) context.log('engine', line)
    await assertDeployable(context, config.build.kind)
    context.crashPoint('fetch.done-not-recorded')
    return done(describe(revision), { facts: { revision, workspace, config, configOrigin: origin } })
  },

  async undo(context) {
    await rm(context.directories.workspace, { recursive: true, force: true })
  },
}

/** What can't work is refused before anything is built. */
async function assertDeployable(context: StageContext, kind: keyof StageContext['drivers']['builders']): Promise<void> {
  if (context.drivers.builders[kind] === null) {
    throw new ShiplockError('CONFIG_INVALID', `build: this server's runtime (${context.drivers.runtime.name}) has no builder for ${kind}`, {
      hint: 'Use a recipe (build.buildCommands, build.deployFiles), or configure a container engine on the server.',
    })
  }
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
