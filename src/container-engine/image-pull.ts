import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import type { Digest, ProjectId } from '../domain/ids.ts'
import { familiarName, type ImageReference, parseImageReference, pinnedReference } from '../domain/image-reference.ts'
import { type ContainerEngine, EngineRefusal } from './engine.ts'
import { jsonLines } from './engine-frames.ts'
import { findImageFacts, type ImageFacts } from './image-facts.ts'
import { engineAuthHeader, type RegistryAuth } from './registry-auth.ts'

export interface ResolvedImage {
  /** Of the manifest in its registry; of the image itself where it is in no registry. */
  readonly digest: Digest
  /** `name:tag@digest`. */
  readonly reference: string
  /** Whether it is in no registry: only the engine has it, under its name. */
  readonly isLocal: boolean
  /** Why it is exactly this one, for the log. */
  readonly note: string
}

export interface ImageRequest {
  readonly reference: ImageReference
  readonly auth: RegistryAuth | null
  /** What it must be for. Default: what the engine runs. */
  readonly platform?: string
  readonly signal: AbortSignal
}

interface Distribution {
  readonly Descriptor: { readonly digest: string }
  readonly Platforms?: readonly { readonly os?: string; readonly architecture?: string; readonly variant?: string }[] | null
}

interface PullMessage {
  readonly status?: string
  readonly id?: string
  readonly error?: string
}

const PULL_MS = null
const ASK_MS = 60_000
/** The states of a layer that are worth a line. */
const TOLD = /^(Pulling from|Digest:|Status:|Pull complete|Already exists)/

/** @throws IMAGE_REFUSED for what is no image reference */
export function requireImageReference(text: string): ImageReference {
  const reference = parseImageReference(text)
  if (!('problem' in reference)) return reference
  throw new ShiplockError('IMAGE_REFUSED', `${printable(JSON.stringify(text.slice(0, 200)))} ${reference.problem}`)
}

/**
 * What a reference means now, asked from its registry with what the project may show there: an image that another project has pulled
 * proves nothing (I10). Only one that came from no registry at all is taken from the engine by its name.
 * @throws IMAGE_NOT_FOUND, IMAGE_REFUSED (wrong platform), SOURCE_UNREACHABLE
 */
export async function resolveImage(engine: ContainerEngine, projectId: ProjectId, request: ImageRequest): Promise<ResolvedImage> {
  const { reference, signal } = request
  const local = await findLocalOnly(engine, reference, projectId, signal)
  if (local !== null) {
    await assertPlatform(engine, [local.platform], request)
    return {
      digest: local.id,
      reference: pinnedReference(reference, local.id),
      isLocal: true,
      note: 'only this server’s engine has it: named by its id',
    }
  }
  const found = await askRegistry(engine, request)
  const digest = found.Descriptor.digest as Digest
  const platforms = (found.Platforms ?? []).flatMap(({ os, architecture, variant }) =>
    os === undefined || architecture === undefined ? [] : [[os, architecture, variant].filter(Boolean).join('/')],
  )
  if (platforms.length > 0) await assertPlatform(engine, platforms, request)
  const note =
    reference.digest === null ? `${reference.tag ?? 'latest'} is ${digest.slice(0, 19)} at this moment` : 'as named by its digest'
  return { digest, reference: pinnedReference(reference, digest), isLocal: false, note }
}

/** Brings exactly that image into the engine; one that is there already is not pulled again. */
export async function pullImage(
  engine: ContainerEngine,
  request: ImageRequest & { readonly onLine: (line: string) => void },
): Promise<ImageFacts> {
  const { reference, auth, signal, onLine, platform } = request
  const { digest } = reference
  if (digest === null) throw new Error('only a pinned image is pulled')
  const present = await findPinned(engine, reference, signal)
  if (present !== null && (platform === undefined || isFor(present.platform, platform))) {
    onLine('the engine has it already')
    return present
  }
  try {
    const { body } = await engine.stream('POST', '/images/create', {
      query: { fromImage: reference.name, tag: digest, ...(platform === undefined ? {} : { platform }) },
      headers: { 'x-registry-auth': engineAuthHeader(auth, reference.host) },
      signal,
      timeoutMs: PULL_MS,
    })
    for await (const { status, id, error } of jsonLines<PullMessage>(body)) {
      if (error !== undefined) throw problemOf(error, reference)
      if (status !== undefined && TOLD.test(status))
        onLine(printable(id === undefined || status.startsWith('Pulling from') ? status : `${id}: ${status}`))
    }
  } catch (error) {
    throw error instanceof EngineRefusal ? problemOf(error.message, reference) : error
  }
  const facts = await findPinned(engine, reference, signal)
  if (facts === null) throw new ShiplockError('IMAGE_NOT_FOUND', `the engine does not have ${familiarName(reference)} after pulling it`)
  return facts
}

async function findPinned(engine: ContainerEngine, { name, digest }: ImageReference, signal: AbortSignal): Promise<ImageFacts | null> {
  return (await findImageFacts(engine, digest ?? '', signal)) ?? (await findImageFacts(engine, `${name}@${digest}`, signal))
}

/** `linux/arm64` is also for `linux/arm64/v8`, and the other way round. */
function isFor(platform: string, wanted: string): boolean {
  return `${platform}/`.startsWith(`${wanted}/`) || `${wanted}/`.startsWith(`${platform}/`)
}

/**
 * An image under that name that came from no registry, or that this server built for the project, published meanwhile or not. What a server
 * has built carries its labels: it belongs to the project that they name, and layers, which name none, to nobody.
 */
async function findLocalOnly(
  engine: ContainerEngine,
  reference: ImageReference,
  projectId: ProjectId,
  signal: AbortSignal,
): Promise<ImageFacts | null> {
  const facts = await findImageFacts(engine, `${familiarName(reference)}:${reference.tag ?? 'latest'}`, signal)
  if (facts === null || (reference.digest !== null && facts.id !== reference.digest)) return null
  const { labels } = facts
  if (labels['shiplock.owner'] === undefined && labels['shiplock.project'] === undefined) {
    return facts.repositoryDigests.length === 0 ? facts : null
  }
  const hasOwnName = reference.host === 'docker.io' && reference.path.startsWith('shiplock/')
  const isOwn = labels['shiplock.project'] === projectId && (hasOwnName || facts.repositoryDigests.length === 0)
  return isOwn ? facts : null
}

async function askRegistry(engine: ContainerEngine, { reference, auth, signal }: ImageRequest): Promise<Distribution> {
  const { name, tag, digest, host } = reference
  const exact = digest === null ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`
  try {
    const found = await engine.json<Distribution>('GET', `/distribution/${exact}/json`, {
      headers: { 'x-registry-auth': engineAuthHeader(auth, host) },
      signal,
      timeoutMs: ASK_MS,
    })
    if (/^sha256:[0-9a-f]{64}$/.test(found.Descriptor?.digest ?? '')) return found
    throw new ShiplockError('IMAGE_REFUSED', `the registry ${host} names ${familiarName(reference)} by a digest that is none`)
  } catch (error) {
    throw error instanceof EngineRefusal ? problemOf(error.message, reference) : error
  }
}

async function assertPlatform(
  engine: ContainerEngine,
  platforms: readonly string[],
  { reference, signal, platform }: ImageRequest,
): Promise<void> {
  const { os, arch } = await engine.version(signal)
  const wanted = platform ?? `${os}/${arch}`
  if (platforms.some((offered) => isFor(offered, wanted))) return
  const offered = platforms.slice(0, 8).map(printable).join(', ')
  throw new ShiplockError('IMAGE_REFUSED', `${familiarName(reference)} is for ${offered}, and this server’s engine runs ${wanted}`, {
    hint: `Build the image for ${wanted}, or for several platforms.`,
  })
}

const UNREACHABLE =
  /no such host|dial tcp|connection refused|connection reset|i\/o timeout|TLS handshake|x509|deadline exceeded|server gave HTTP response|EOF|toomanyrequests|429|50[0234] /i
const REFUSED = /unauthorized|authentication required|denied|forbidden|no basic auth|incorrect username|401|403/i

/** In the engine's words, which differ from version to version. */
function problemOf(message: string, reference: ImageReference): ShiplockError {
  const name = `${familiarName(reference)}${reference.digest === null ? `:${reference.tag ?? 'latest'}` : `@${reference.digest.slice(0, 19)}`}`
  const said = printable(message).slice(0, 300)
  if (UNREACHABLE.test(message))
    return new ShiplockError('SOURCE_UNREACHABLE', `the registry ${reference.host} can’t be reached for ${name}: ${said}`)
  if (REFUSED.test(message)) {
    return new ShiplockError('IMAGE_NOT_FOUND', `${reference.host} refuses access to ${name}, or has no such image: ${said}`)
  }
  return new ShiplockError('IMAGE_NOT_FOUND', `there is no image ${name}: ${said}`)
}
