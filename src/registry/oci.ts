import { engineAuthHeader, type RegistryAuth } from '../container-engine/registry-auth.ts'
import type { Clock } from '../core/clock.ts'
import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { createRedactor } from '../core/redact.ts'
import type { Artifact } from '../domain/deployment.ts'
import { type CredentialSource, secretsOf } from './credentials.ts'
import { parsePublished, type RegistryPrefix, type Repository, repositoryBelow } from './image-name.ts'
import { createLocalRegistry } from './local.ts'
import { type PushMessage, PushProgress } from './push-progress.ts'
import type { Published, PublishRequest, Registry } from './registry.ts'
import { type Manifest, RegistryClient } from './registry-client.ts'
import { problemOfMessage, publishFailed, RegistryProblem, withRegistryRetry } from './registry-problem.ts'

/** The container engine's part of a publication: it has the layers. */
export interface ImageEngine {
  /** The engine's own id of an image that is named by id or reference; null = it has none. */
  imageId(name: string): Promise<string | null>
  /** Naming it so twice is success. */
  tagImage(id: string, repository: string, tag: string): Promise<void>
  /** Rejects on transport errors; what the registry said comes as messages. `auth`: value of X-Registry-Auth, never logged. */
  pushImage(request: {
    readonly repository: string
    readonly tag: string
    readonly auth: string
    readonly onMessage: (message: PushMessage) => void
    readonly signal: AbortSignal
  }): Promise<void>
}

export interface OciRegistryOptions {
  readonly prefix: RegistryPrefix
  /** Plain HTTP. */
  readonly isPlain: boolean
  readonly credentials: CredentialSource
  /** null = this server has no container engine; file trees are stored all the same. */
  readonly engine: ImageEngine | null
  readonly clock: Clock
}

type ImageArtifact = Extract<Artifact, { kind: 'image' }>

/** Any registry of the OCI distribution specification. */
export function createOciRegistry(options: OciRegistryOptions): Registry {
  const local = createLocalRegistry()
  const { host } = options.prefix
  return {
    name: 'oci',
    publish: async (request) => {
      const { artifact } = request
      if (artifact.kind === 'tree') {
        const note = `file trees are not images: ${artifact.digest.slice(0, 19)} is kept in the artifact store`
        request.onLine(note)
        return { reference: null, note }
      }
      if (options.engine === null) return local.publish(request)
      try {
        return await publishImage(options, options.engine, artifact, request)
      } catch (error) {
        throw error instanceof RegistryProblem ? publishFailed(error, host) : error
      }
    },
    check: async (signal) => {
      try {
        await new RegistryClient({ host, isPlain: options.isPlain, credentials: await options.credentials.find(host) }).ping(signal)
        return { ok: true, summary: `${host}${options.prefix.path === '' ? '' : `/${options.prefix.path}`} answers` }
      } catch (error) {
        return { ok: false, summary: `${host}: ${printable((error as Error).message)}` }
      }
    },
  }
}

/** Everything that one publication needs. */
interface Publication {
  readonly options: OciRegistryOptions
  readonly engine: ImageEngine
  readonly repository: Repository
  readonly tag: string
  /** Digests by which this image may go: as it was built, and as the engine has it. */
  readonly identities: ReadonlySet<string>
  readonly credentials: RegistryAuth | null
  readonly client: RegistryClient
  readonly onLine: (line: string) => void
  readonly signal: AbortSignal
}

async function publishImage(
  options: OciRegistryOptions,
  engine: ImageEngine,
  artifact: ImageArtifact,
  request: PublishRequest,
): Promise<Published> {
  const { prefix, isPlain } = options
  const repository = repositoryBelow(prefix, request.repository)
  if (repository === null) {
    throw new ShiplockError('PUBLISH_FAILED', `no registry takes a repository called ${JSON.stringify(request.repository.slice(0, 200))}`, {
      hint: 'Shorten SHIPLOCK_REGISTRY, or name project and service with lower-case letters, digits and inner hyphens.',
    })
  }
  const credentials = await options.credentials.find(prefix.host)
  const redact = createRedactor(secretsOf(credentials, prefix.host))
  const id = (await engine.imageId(artifact.digest)) ?? (await engine.imageId(artifact.reference))
  const publication: Publication = {
    options,
    engine,
    repository,
    tag: tagOf(artifact),
    identities: new Set([artifact.digest, ...(id === null ? [] : [id])]),
    credentials,
    client: new RegistryClient({ host: prefix.host, isPlain, credentials }),
    onLine: (line) => request.onLine(redact(line)),
    signal: request.signal,
  }
  const present = await retrying(publication, () => findPresent(publication, artifact))
  if (present !== null) {
    const note = `${repository.name} has ${present.digest.slice(0, 19)} already`
    publication.onLine(note)
    return { reference: `${repository.name}@${present.digest}`, note, isReused: true }
  }
  if (id === null) throw new RegistryProblem('refused', `the container engine no longer has the image ${artifact.digest.slice(0, 19)}`)
  const pushed = await retrying(publication, () => push(publication, id))
  const note = `pushed as ${repository.name}@${pushed.digest.slice(0, 19)} and read back`
  publication.onLine(note)
  return { reference: `${repository.name}@${pushed.digest}`, note }
}

/**
 * From the content, so that publishing twice finds the first. A manifest with a tag is not taken away when the registry collects its garbage.
 */
function tagOf(artifact: ImageArtifact): string {
  return `shiplock-${artifact.digest.slice('sha256:'.length, 'sha256:'.length + 40)}`
}

/** The manifest that an earlier publication left, tagged. */
async function findPresent(
  { client, repository, tag, identities, signal }: Publication,
  artifact: ImageArtifact,
): Promise<Manifest | null> {
  const tagged = await client.findManifest(repository.path, tag, signal)
  if (tagged !== null && isOf(tagged, identities)) return tagged
  const earlier = parsePublished(artifact.reference)
  if (earlier === null || earlier.name !== repository.name) return null
  const untagged = await client.findManifest(repository.path, earlier.digest, signal)
  if (untagged !== null) await client.tagManifest(repository.path, tag, untagged, signal)
  return untagged
}

/** One push, and the look whether the registry really has what was pushed. Everything in it may be done again. */
async function push(publication: Publication, id: string): Promise<Manifest> {
  const { engine, repository, tag, client, identities, signal } = publication
  await engine.tagImage(id, repository.name, tag)
  const progress = new PushProgress(publication.onLine)
  await pushOnce(publication, progress)
  if (progress.error !== null) throw problemOfMessage(progress.error)
  if (progress.digest === null) throw new RegistryProblem('passing', 'the push ended without a digest')
  const manifest = await client.findManifest(repository.path, progress.digest, signal)
  if (manifest === null) throw new RegistryProblem('passing', `it does not have ${progress.digest.slice(0, 19)} after the push`)
  if (!isOf(manifest, identities)) throw new RegistryProblem('refused', `what it has as ${progress.digest.slice(0, 19)} is another image`)
  publication.onLine(progress.summary)
  return manifest
}

/** A push that falls silent is cut, so that the next attempt may have it. */
async function pushOnce({ options, engine, repository, tag, credentials, signal }: Publication, progress: PushProgress): Promise<void> {
  const stalled = new AbortController()
  let timer = setTimeout(() => stalled.abort(), LIMITS.registryPushStallMs)
  try {
    await engine.pushImage({
      repository: repository.name,
      tag,
      auth: engineAuthHeader(credentials, options.prefix.host),
      onMessage: (message) => {
        clearTimeout(timer)
        timer = setTimeout(() => stalled.abort(), LIMITS.registryPushStallMs)
        progress.take(message)
      },
      signal: AbortSignal.any([signal, stalled.signal]),
    })
  } catch (error) {
    signal.throwIfAborted()
    if (stalled.signal.aborted) throw new RegistryProblem('passing', `nothing moved for ${LIMITS.registryPushStallMs / 60_000} min`)
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** An image is known by its manifest's digest, or by that of its configuration, which is what engines call its id. */
function isOf(manifest: Manifest, identities: ReadonlySet<string>): boolean {
  if (identities.has(manifest.digest)) return true
  try {
    const { config } = JSON.parse(Buffer.from(manifest.bytes).toString('utf8')) as { config?: { digest?: unknown } }
    return typeof config?.digest === 'string' && identities.has(config.digest)
  } catch {
    return false
  }
}

/** An engine that goes away comes back, too: its errors are tried again like the registry's. */
function retrying<T>({ options, onLine, signal }: Publication, work: () => Promise<T>): Promise<T> {
  let engineError: unknown = null
  const attempt = async () => {
    engineError = null
    try {
      return await work()
    } catch (error) {
      if (!isShiplockError(error, 'ENGINE_UNREACHABLE')) throw error
      engineError = error
      throw new RegistryProblem('passing', error.message)
    }
  }
  const onRetry = (problem: RegistryProblem, pauseMs: number, attempts: number) =>
    onLine(`attempt ${attempts} failed (${problem.message}); again in ${(pauseMs / 1000).toFixed(1)} s`)
  return withRegistryRetry(attempt, { clock: options.clock, signal, onRetry }).catch((error: unknown) => {
    throw engineError ?? error
  })
}
