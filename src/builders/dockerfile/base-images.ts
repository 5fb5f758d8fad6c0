import type { ContainerEngine } from '../../container-engine/engine.ts'
import type { ImageCredentials } from '../../container-engine/image-credentials.ts'
import { findImageFacts } from '../../container-engine/image-facts.ts'
import { pullImage, type ResolvedImage, requireImageReference, resolveImage } from '../../container-engine/image-pull.ts'
import type { RegistryAuth } from '../../container-engine/registry-auth.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import type { Digest } from '../../domain/ids.ts'
import { familiarName, type ImageReference, pinnedReference } from '../../domain/image-reference.ts'
import type { BuildRequest } from '../builder.ts'
import { type BaseNeed, checkTriggers } from './dockerfile-plan.ts'

export interface BaseImagesOptions {
  readonly engine: ContainerEngine
  readonly credentials: ImageCredentials
  readonly mayAddUrls: boolean
  /** ms. Default: since the process began. */
  readonly monotonic?: () => number
}

type Request = Pick<BuildRequest, 'projectId' | 'names' | 'env' | 'signal'> & {
  readonly onLine: (line: string) => void
  readonly targetPlatform: string
}

export interface FoundImages {
  /** What stands in the Dockerfile instead of a name. */
  readonly image: (need: BaseNeed) => string
  readonly syntax: string | null
  /** What those registries ask for, by host. */
  readonly auths: ReadonlyMap<string, RegistryAuth>
}

/** `# syntax=` names a program that makes the build with all rights of one: the official one, by its digest, and no other. */
const FRONTENDS: ReadonlySet<string> = new Set(['docker.io/docker/dockerfile', 'docker.io/docker/dockerfile-upstream'])
const REMEMBERED = 500
/** How long a name that was looked up stands for what it meant: registries count how often they are asked. */
const NAME_MS = 10 * 60_000

/**
 * What the images mean that a Dockerfile names: the same rule as for `deploy --image`. A name is asked from its registry with what the
 * project may show there and pinned to the digest; of the engine's own images only those of this project and those that nobody built here
 * are there for it. Never an id or a part of one: what another project has made is not known (I10).
 */
export class BaseImages {
  readonly #options: BaseImagesOptions
  readonly #names = new Map<string, { readonly image: ResolvedImage; readonly until: number }>()
  /** Triggers of an image never change: by digest and platform. */
  readonly #triggers = new Map<string, readonly string[]>()

  constructor(options: BaseImagesOptions) {
    this.#options = options
  }

  async find(needs: readonly BaseNeed[], syntax: string | null, request: Request): Promise<FoundImages> {
    const auths = new Map<string, RegistryAuth>()
    const found = new Map<BaseNeed, string>()
    for (const need of needs) {
      const { written, triggers } = await this.#find(need, request, auths).catch((error: unknown) => {
        throw atLine(need, error)
      })
      checkTriggers(triggers, need, this.#options.mayAddUrls)
      found.set(need, written)
    }
    const frontend = syntax === null ? null : await this.#frontend(syntax, request, auths)
    return { image: (need) => found.get(need) ?? '', syntax: frontend, auths }
  }

  async #frontend(syntax: string, request: Request, auths: Map<string, RegistryAuth>): Promise<string> {
    const reference = requireImageReference(syntax)
    if (!FRONTENDS.has(reference.name)) {
      throw new ShiplockError(
        'CONFIG_INVALID',
        `the Dockerfile names the frontend ${reference.name} (\`# syntax=\`), which is not allowed here`,
        {
          hint: 'A frontend makes the build with all its rights. Remove the line, or name docker/dockerfile.',
        },
      )
    }
    const { image } = await this.#resolve(reference, request, auths)
    return writtenName(reference, image)
  }

  async #find(need: BaseNeed, request: Request, auths: Map<string, RegistryAuth>) {
    const reference = requireImageReference(need.reference)
    const platform = need.platform ?? request.targetPlatform
    const { image, auth } = await this.#resolve(reference, request, auths, platform)
    request.onLine(`base image ${need.reference}: ${image.note}`)
    const key = `${image.digest} ${platform}`
    const known = this.#triggers.get(key)
    const triggers = known ?? (await this.#triggersOf(reference, image, { auth, platform, request }))
    if (this.#triggers.size >= REMEMBERED) this.#triggers.clear()
    this.#triggers.set(key, triggers)
    return { written: writtenName(reference, image), triggers }
  }

  /** The image is pulled by us, so that what it brings is known before the builder acts on it. */
  async #triggersOf(
    reference: ImageReference,
    image: ResolvedImage,
    { auth, platform, request }: { readonly auth: RegistryAuth | null; readonly platform: string; readonly request: Request },
  ): Promise<readonly string[]> {
    const { engine } = this.#options
    const { signal, onLine } = request
    if (image.isLocal) return (await findImageFacts(engine, image.digest, signal))?.triggers ?? []
    const pinned = { ...reference, digest: image.digest }
    const facts = await pullImage(engine, { reference: pinned, auth, signal, onLine, platform })
    return facts.triggers
  }

  /** What the engine has of an image that is everybody's: Docker's own library, which is public by what it is. */
  async #official(reference: ImageReference, signal: AbortSignal): Promise<ResolvedImage | null> {
    if (reference.host !== 'docker.io' || !/^library\/[^/]+$/.test(reference.path) || reference.digest !== null) return null
    const facts = await findImageFacts(this.#options.engine, `${familiarName(reference)}:${reference.tag ?? 'latest'}`, signal)
    // One that was pulled under exactly this name; engines write it short, Podman in full.
    const names = [familiarName(reference), reference.name]
    const entry = facts?.repositoryDigests.find((name) => names.includes(name.split('@')[0] ?? ''))
    const digest = entry?.split('@')[1] as Digest | undefined
    return digest === undefined ? null : { digest, reference: pinnedReference(reference, digest), isLocal: false, note: '' }
  }

  #now(): number {
    return this.#options.monotonic?.() ?? performance.now()
  }

  async #resolve(
    reference: ImageReference,
    { projectId, names, env, signal }: Request,
    auths: Map<string, RegistryAuth>,
    platform?: string,
  ): Promise<{ readonly image: ResolvedImage; readonly auth: RegistryAuth | null }> {
    const { engine, credentials } = this.#options
    const auth = await credentials.find(reference, { project: names.project, variables: env })
    if (auth !== null) auths.set(reference.host, auth)
    const key = JSON.stringify([projectId, reference.name, reference.tag, reference.digest, auth, platform])
    const known = this.#names.get(key)
    if (known !== undefined && this.#now() < known.until) return { image: known.image, auth }
    const image = await resolveImage(engine, projectId, { reference, auth, signal, ...(platform === undefined ? {} : { platform }) }).catch(
      async (error: unknown) => {
        const other = isShiplockError(error, 'SOURCE_UNREACHABLE') ? (known?.image ?? (await this.#official(reference, signal))) : null
        if (other === null) throw error
        return { ...other, note: `its registry does not answer; it was ${other.digest.slice(0, 19)} when it last did` }
      },
    )
    if (this.#names.size >= REMEMBERED) this.#names.clear()
    // One that only the engine has may be made anew at any moment.
    if (!image.isLocal) this.#names.set(key, { image, until: this.#now() + NAME_MS })
    return { image, auth }
  }
}

const OF_IMAGES: readonly string[] = ['IMAGE_NOT_FOUND', 'IMAGE_REFUSED', 'SOURCE_UNREACHABLE']

function atLine({ line }: BaseNeed, error: unknown): unknown {
  if (!(error instanceof ShiplockError) || !OF_IMAGES.includes(error.code)) return error
  const { message, hint, details } = error
  return new ShiplockError('BUILD_FAILED', `line ${line} of the Dockerfile: ${message}`, { hint, details, cause: error })
}

/** In full, so that no builder takes it for a part of an image's id. */
function writtenName({ name, tag }: ImageReference, { digest, isLocal }: ResolvedImage): string {
  return isLocal ? `${name}:${tag ?? 'latest'}` : `${name}@${digest}`
}
