import { join } from 'node:path'
import type { Builder, BuildOutput, BuildRequest } from '../builders/builder.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Artifact } from '../domain/deployment.ts'
import { REGISTRY_AUTH_VARIABLE } from '../domain/image-reference.ts'
import type { BuildConfig } from '../domain/service-config.ts'
import { refuseWithoutScanner } from './scan-required.ts'
import { done, type Stage, type StageContext, skipped } from './stage.ts'

/** Source → artifact, in a sandbox that is removed whatever happens. Skipped when a kept release has the same build key. */
export const build: Stage = {
  name: 'build',

  async run(context) {
    context.crashPoint('build.before')
    const builder = builderOf(context)
    // What its instances would lack is told now, not after the build.
    await context.variables()
    const request = await requestOf(context)
    const buildKey = await builder.buildKey(request)
    const same = context.deployment.options.rebuild ? null : await context.findRelease(buildKey)
    const known = same === null ? null : builtOf(same.artifact)
    if (same !== null && known !== null && (await isKept(context, known))) {
      return skipped(`same source and configuration as v${same.number}`, { facts: { buildKey, artifact: known, scan: null } })
    }
    await refuseWithoutScanner(context, builder.kind === 'recipe' ? 'tree' : 'image')
    await assertRoom(context)
    try {
      context.crashPoint('build.sandbox-made')
      const output = await builder.build(request)
      context.crashPoint('build.done-not-stored')
      const artifact = await store(context, output)
      context.crashPoint('build.stored-not-recorded')
      return done(describe(artifact), { facts: { buildKey, artifact } })
    } finally {
      await builder.cleanUp(request)
    }
  },

  async undo(context) {
    if (context.facts.config === null) return
    await builderOf(context).cleanUp({ key: keyOf(context), workDirectory: context.directories.scratch })
  },
}

/** A project that keeps too much, or a volume above the mark: nothing new is built; what serves needs the rest of the disk. */
async function assertRoom({ drivers, deployment }: StageContext): Promise<void> {
  const over = (await drivers.disk?.overProject?.(deployment.id)) ?? null
  if (over !== null) {
    throw new ShiplockError('DISK_LIMIT', `nothing more is built for this project: ${over}`, {
      hint: 'Lower `retention` or remove services that are not needed, or ask for a larger SHIPLOCK_PROJECT_DISK_MB. What serves goes on.',
    })
  }
  const reason = (await drivers.disk?.makeRoom(deployment.id)) ?? null
  if (reason !== null) {
    throw new ShiplockError('DISK_FULL', `nothing is built while ${reason}`, {
      hint: '`shiplock gc` clears up what nobody needs; SHIPLOCK_DISK_MARK is the mark. What serves goes on.',
    })
  }
}

async function store({ drivers }: StageContext, output: BuildOutput): Promise<Artifact> {
  if (output.kind === 'image') return output.artifact
  const { prepareDirectory = null } = output
  const prepareFiles = prepareDirectory === null ? null : (await drivers.artifacts.put(prepareDirectory)).digest
  const artifact = await drivers.artifacts.put(output.directory)
  return prepareFiles === null ? artifact : { ...artifact, prepareFiles }
}

function builderOf(context: StageContext): Builder {
  const kind = configOf(context).build.kind
  const builder = context.drivers.builders[kind]
  if (builder === null) throw new ShiplockError('CONFIG_INVALID', `no builder for ${kind}`)
  return builder
}

export function configOf(context: StageContext) {
  if (context.facts.config === null) throw new Error('a stage ran before the configuration was read')
  return context.facts.config
}

function keyOf(context: StageContext): string {
  return context.deployment.id
}

async function requestOf(context: StageContext): Promise<BuildRequest> {
  const config = configOf(context)
  const timeoutMs = config.build.kind === 'image' ? LIMITS.buildHardTimeoutMs : Math.min(config.build.timeoutMs, LIMITS.buildHardTimeoutMs)
  return {
    key: keyOf(context),
    projectId: context.deployment.projectId,
    environmentId: context.deployment.environmentId,
    serviceEnvironmentId: context.deployment.serviceEnvironmentId,
    names: context.names,
    config: config.build,
    sourceDirectory: join(context.directories.workspace, context.deployment.options.rootDirectory ?? '.'),
    workDirectory: context.directories.scratch,
    cacheDirectory: context.directories.cache,
    env: buildEnvironment(config.build.kind, await context.buildVariables()),
    startCommands: config.run.startCommands,
    timeoutMs,
    onLine: (line, kind) => context.log(kind, line),
    signal: context.signal,
  }
}

/** A recipe's commands see all variables, so credentials for images are not among them. */
function buildEnvironment(kind: BuildConfig['kind'], variables: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  if (kind !== 'recipe') return variables
  const { [REGISTRY_AUTH_VARIABLE]: _, ...env } = variables
  return env
}

/** What the build gave: an image that was put together afterwards is put together again, or found. */
function builtOf(artifact: Artifact): Artifact {
  return artifact.kind === 'image' ? (artifact.tree ?? artifact) : artifact
}

async function isKept(context: StageContext, artifact: Artifact): Promise<boolean> {
  if (artifact.kind === 'image') return (await builderOf(context).isKept?.(artifact)) ?? true
  const { artifacts } = context.drivers
  const { digest, prepareFiles } = artifact
  return (await artifacts.find(digest)) !== null && (prepareFiles === undefined || (await artifacts.find(prepareFiles)) !== null)
}

function describe(artifact: Artifact): string {
  return artifact.kind === 'image'
    ? `image ${artifact.digest.slice(0, 19)}`
    : `${artifact.files} files, ${(artifact.bytes / 1024).toFixed(0)} KiB, ${artifact.digest.slice(0, 19)}`
}
