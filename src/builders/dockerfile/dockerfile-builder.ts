import { createHash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { totalmem } from 'node:os'
import { join } from 'node:path'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { createImageCredentials, type ImageCredentials } from '../../container-engine/image-credentials.ts'
import { findImageFacts } from '../../container-engine/image-facts.ts'
import { cliConfig, type RegistryAuths } from '../../container-engine/registry-auth.ts'
import { ShiplockError } from '../../core/errors.ts'
import { type CommandResult, runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import type { MemoryDirectory } from '../../core/memory-directory.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { treeDigest } from '../../core/tree-digest.ts'
import type { Artifact } from '../../domain/deployment.ts'
import type { Digest } from '../../domain/ids.ts'
import type { DockerfileBuild } from '../../domain/service-config.ts'
import type { Builder, BuildOutput, BuildRequest } from '../builder.ts'
import { BuildLog } from '../recipe/build-log.ts'
import { assertStartable } from '../startable.ts'
import { BaseImages } from './base-images.ts'
import { type BuildCommand, buildArguments } from './build-command.ts'
import { type BuildContext, locateContext, readDockerfile, writeDockerfile } from './build-context.ts'
import { endBuildProcesses, markOf } from './build-processes.ts'
import { BuildReporter } from './build-reporter.ts'
import { ClassicReporter } from './classic-reporter.ts'
import { type DockerClient, findDockerClient } from './docker-client.ts'
import { planDockerfile, refuseBuilderSettings } from './dockerfile-plan.ts'
import { findImageFailureCause } from './failure-cause.ts'
import { knowsHeredocs } from './heredoc-support.ts'
import { buildScope, imageLabels, localTag } from './image-tag.ts'
import { holdSteps } from './step-limits.ts'

export interface DockerfileBuilderOptions {
  readonly engine: ContainerEngine
  /** Who this server is in the engine; on every image as a label. */
  readonly owner: string
  /** For credentials and secrets of a build, while it runs. */
  readonly memory: MemoryDirectory
  /** Where the docker CLI is looked for: directories, `:` between them. */
  readonly searchPath: string
  /** Who projects are to the registries of their base images. Default: anybody. */
  readonly credentials?: ImageCredentials
  /** The network of RUN steps. Default: the engine's. */
  readonly network?: 'engine' | 'none'
  /** Whether the engine may fetch what `ADD https://…` names. Default no. */
  readonly mayAddUrls?: boolean
  /** Of one step. Default: three quarters of the host's memory, and all cores. */
  readonly memoryMb?: number | null
  readonly cpus?: number | null
}

/** Raised when the same input would give another image. */
const IMAGE_BUILD_VERSION = 2
/** Of the host's memory, where nothing else is set: as for recipes. */
const MEMORY_SHARE = 0.75
const CLIENT_MEMORY_MS = LIMITS.toolchainMemoryMs
/** The client tells the engine to stop when it is told so; it is killed when it does not end. */
const CANCEL_GRACE_MS = 5000

/** Builds an image from a Dockerfile in a container engine, with the docker CLI: it alone speaks BuildKit's own protocol for context and secrets. */
export function createDockerfileBuilder(options: DockerfileBuilderOptions): Builder {
  return new DockerfileBuilder(options)
}

class DockerfileBuilder implements Builder {
  readonly kind = 'dockerfile'
  readonly #options: DockerfileBuilderOptions
  readonly #bases: BaseImages
  #client: { readonly found: DockerClient; readonly until: number } | null = null

  constructor(options: DockerfileBuilderOptions) {
    this.#options = options
    const credentials = options.credentials ?? createImageCredentials({ file: null, publish: null })
    this.#bases = new BaseImages({ engine: options.engine, credentials, mayAddUrls: options.mayAddUrls === true })
  }

  async buildKey({ config, sourceDirectory }: Pick<BuildRequest, 'config' | 'sourceDirectory'>): Promise<Digest> {
    const build = dockerfileOf(config)
    const context = await locateContext(sourceDirectory, build)
    const { digest } = await treeDigest(context.directory)
    const dockerfile = createHash('sha256')
      .update(await readFile(context.dockerfile))
      .digest('hex')
    const { os, arch } = await this.#options.engine.version()
    const args = Object.entries(build.args).sort(([a], [b]) => (a < b ? -1 : 1))
    const platform = build.platform ?? `${os}/${arch}`
    const inputs = JSON.stringify([IMAGE_BUILD_VERSION, digest, dockerfile, build.target, args, [...build.secrets].sort(), platform])
    return `sha256:${createHash('sha256').update(inputs).digest('hex')}` as Digest
  }

  async isKept(artifact: Extract<Artifact, { kind: 'image' }>): Promise<boolean> {
    return (await findImageFacts(this.#options.engine, artifact.digest)) !== null
  }

  async cleanUp({ key, workDirectory }: Pick<BuildRequest, 'key' | 'workDirectory'>): Promise<void> {
    await endBuildProcesses(markOf(key, workDirectory))
    await this.#options.memory.remove(scratchOf(key))
    // Where servers before this one had it.
    await removeTree(join(workDirectory, 'docker-build'))
  }

  async build(request: BuildRequest): Promise<BuildOutput> {
    const build = dockerfileOf(request.config)
    refuseBuilderSettings(build.args)
    const log = new BuildLog(request.onLine)
    await this.cleanUp(request)
    const context = await locateContext(request.sourceDirectory, build)
    const scratch = await this.#options.memory.make(scratchOf(request.key))
    try {
      const env = this.#environment(scratch, request)
      await writeAuths(scratch, new Map())
      const client = await this.#findClient(env, request.signal)
      log.engine(client.summary)
      if (client.mode === 'classic' && build.secrets.length > 0) throw secretsUnavailable(client)
      const command: BuildCommand = {
        client,
        build,
        context,
        dockerfile: await this.#plan({ context, client, scratch }, request, log),
        scope: buildScope(this.#options.owner, request),
        tag: localTag(request),
        labels: imageLabels(this.#options.owner, request),
        idFile: join(scratch, 'image-id'),
        secretFiles: await writeSecrets(scratch, build, request.env),
        network: this.#options.network ?? 'engine',
        memoryMb: this.#options.memoryMb ?? Math.floor((totalmem() / 1024 ** 2) * MEMORY_SHARE),
        cpus: this.#options.cpus ?? null,
      }
      await this.#run(command, env, request, log)
      return { kind: 'image', artifact: await this.#describe(command, request, log) }
    } finally {
      await this.#options.memory.remove(scratchOf(request.key))
    }
  }

  /** The Dockerfile that is built: what it names from outside is found first, and nothing else is left in it. */
  async #plan(
    { context, client, scratch }: { readonly context: BuildContext; readonly client: DockerClient; readonly scratch: string },
    request: BuildRequest,
    log: BuildLog,
  ): Promise<string> {
    const { engine, mayAddUrls = false, owner } = this.#options
    const build = dockerfileOf(request.config)
    const { os, arch, name } = await engine.version(request.signal)
    const targetPlatform = build.platform ?? `${os}/${arch}`
    const source = await readDockerfile(context.dockerfile)
    const plan = planDockerfile(source, {
      args: build.args,
      enginePlatform: `${os}/${arch}`,
      targetPlatform,
      hasHeredocs: (syntax) => client.mode !== 'classic' && knowsHeredocs(syntax, name),
      mayAddUrls,
    })
    const isClassic = client.mode === 'classic'
    const onLine = (line: string) => log.engine(line)
    const found = await this.#bases.find(plan.needs, isClassic ? null : plan.syntax, { ...request, onLine, targetPlatform })
    await writeAuths(scratch, found.auths)
    const text = plan.render({ syntax: found.syntax, scope: isClassic ? null : buildScope(owner, request), image: found.image })
    return writeDockerfile(join(scratch, 'dockerfile'), text, context)
  }

  async #run(command: BuildCommand, env: Readonly<Record<string, string>>, request: BuildRequest, log: BuildLog): Promise<void> {
    const timeoutMs = Math.min(request.timeoutMs, command.build.timeoutMs, LIMITS.buildHardTimeoutMs)
    const steps = command.client.mode === 'classic' ? null : await holdSteps(this.#options.engine, command)
    log.engine(`limits: ${Math.round(timeoutMs / 60_000) || '<1'} min${limitsNote(command, steps !== null)}`)
    const reporter = command.client.mode === 'classic' ? new ClassicReporter(log) : new BuildReporter(log)
    const result = await runCommand(command.client.file, buildArguments(command), {
      cwd: join(this.#options.memory.path, scratchOf(request.key)),
      env: { ...env, DOCKER_BUILDKIT: command.client.mode === 'classic' ? '0' : '1' },
      timeoutMs,
      signal: request.signal,
      killGraceMs: CANCEL_GRACE_MS,
      onChunk: (chunk) => reporter.push(chunk),
    }).finally(() => steps?.close())
    reporter.end()
    if (steps !== null && steps.missed > 0) log.engine(`warning: ${steps.missed} steps could not be held to the limits`)
    if (result.exitCode === 0 && !result.aborted) return log.engine(`built in ${(result.tookMs / 1000).toFixed(1)} s: ${reporter.summary}`)
    throw this.#failure(result, reporter, request, log)
  }

  #failure(result: CommandResult, reporter: BuildReporter | ClassicReporter, request: BuildRequest, log: BuildLog): unknown {
    const took = `${(result.tookMs / 1000).toFixed(1)} s`
    if (result.aborted) return request.signal.reason
    const { failure } = reporter
    const where = failure.step ?? 'the build'
    if (result.timedOut) {
      log.engine(`→ stopped after ${took}: the time for the build is over`)
      return new ShiplockError('DEPLOYMENT_TIMEOUT', `the image build was stopped after ${took}: the time for the build is over`, {
        hint: 'Raise build.timeout, or find out in the log what the build waits for.',
      })
    }
    if (isEngineGone(result, failure.reason)) {
      this.#client = null
      return new ShiplockError('ENGINE_UNREACHABLE', `the container engine went away during the build: ${failure.reason}`)
    }
    const cause = findImageFailureCause(failure)
    if (cause !== null) log.engine(`${cause.cause}. ${cause.suggestion}`)
    const ended = result.exitCode === null ? `the docker CLI was killed by ${result.signal}` : failure.reason
    return new ShiplockError('BUILD_FAILED', `${where} failed after ${took}: ${cause?.cause ?? ended}`, {
      details: { step: failure.step, reason: failure.reason, logTail: failure.tail.slice(-LIMITS.errorLogTailLines) },
      hint: cause?.suggestion ?? 'The log names the step and its output.',
    })
  }

  async #describe({ idFile, tag }: BuildCommand, request: BuildRequest, log: BuildLog): Promise<Extract<Artifact, { kind: 'image' }>> {
    const { engine } = this.#options
    const id = (await readFile(idFile, 'utf8')).trim()
    const facts = (await findImageFacts(engine, id, request.signal)) ?? (await findImageFacts(engine, tag, request.signal))
    if (facts === null) throw new ShiplockError('INTERNAL', `the engine does not have the image ${id} that was built`)
    assertStartable(facts, request.startCommands, 'the image')
    log.engine(`image ${facts.id.slice(0, 19)}, ${(facts.bytes / 1024 ** 2).toFixed(0)} MiB, ${facts.platform}`)
    return { kind: 'image', digest: facts.id, reference: tag, command: facts.command, exposedPorts: facts.exposedPorts }
  }

  /** All that the client sees: nothing of the server's own environment, and a home of its own. */
  #environment(scratch: string, request: BuildRequest): Readonly<Record<string, string>> {
    return {
      PATH: this.#options.searchPath,
      HOME: scratch,
      DOCKER_CONFIG: scratch,
      DOCKER_HOST: this.#options.engine.address,
      DOCKER_CLI_HINTS: 'false',
      NO_COLOR: '1',
      // One image, not an index with papers beside it: its id is what is scanned, published and run.
      BUILDX_NO_DEFAULT_ATTESTATIONS: '1',
      ...markOf(request.key, request.workDirectory).env,
    }
  }

  async #findClient(env: Readonly<Record<string, string>>, signal: AbortSignal): Promise<DockerClient> {
    if (this.#client !== null && performance.now() < this.#client.until) return this.#client.found
    const { engine, searchPath } = this.#options
    const found = await findDockerClient(engine, { searchPath, env, signal })
    if (found === null) {
      throw new ShiplockError('RUNTIME_UNAVAILABLE', 'no docker CLI on this server understands its container engine', {
        hint: 'Install the docker CLI, best with the buildx plugin, where the server runs.',
      })
    }
    this.#client = { found, until: performance.now() + CLIENT_MEMORY_MS }
    return found
  }
}

function writeAuths(scratch: string, auths: RegistryAuths): Promise<void> {
  return writeFile(join(scratch, 'config.json'), cliConfig(auths), { mode: 0o600 })
}

async function writeSecrets(
  scratch: string,
  { secrets }: DockerfileBuild,
  env: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, string>> {
  const files = new Map<string, string>()
  for (const [index, name] of secrets.entries()) {
    const value = Object.hasOwn(env, name) ? env[name] : undefined
    if (value === undefined) {
      throw new ShiplockError('VARIABLE_UNRESOLVED', `build.secrets: there is no variable or secret ${JSON.stringify(name)}`, {
        hint: `Set it: shiplock env set --secret ${/^\w+$/.test(name) ? name : 'NAME'}=…`,
      })
    }
    const file = join(scratch, `secret-${index}`)
    await writeFile(file, value, { mode: 0o600 })
    files.set(name, file)
  }
  return files
}

function secretsUnavailable(client: DockerClient): ShiplockError {
  return new ShiplockError('BUILD_FAILED', `build.secrets need BuildKit, and here is only the ${client.summary}`, {
    hint: 'Install the buildx plugin of the docker CLI on the server.',
  })
}

function limitsNote({ client, memoryMb, cpus }: BuildCommand, holdsSteps: boolean): string {
  if (client.mode !== 'classic' && !holdsSteps) return ' (BuildKit in this engine bounds neither memory nor cores of a build)'
  const each = client.mode === 'classic' ? '' : ' for each step'
  return `, ${memoryMb} MiB of memory${cpus === null ? '' : `, ${cpus} cores`}${each}`
}

const GONE =
  /Cannot connect to the Docker daemon|error during connect|code = Unavailable|closing transport|transport is closing|unexpected EOF|connection (?:reset|refused)/

function isEngineGone(result: CommandResult, reason: string): boolean {
  return (
    result.exitCode !== 0 && (GONE.test(reason) || result.stderrTail.slice(-3).some((line) => !line.startsWith('#') && GONE.test(line)))
  )
}

function dockerfileOf(config: BuildRequest['config']): DockerfileBuild {
  if (config.kind === 'dockerfile') return config
  throw new ShiplockError('INTERNAL', `the Dockerfile builder was given a ${config.kind} build`)
}

/** In memory: home and configuration of the docker CLI, with what it may know. */
function scratchOf(key: string): string {
  return join('docker-build', key.replace(/[^A-Za-z0-9_-]/g, '_'))
}
