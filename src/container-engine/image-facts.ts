import type { Digest } from '../domain/ids.ts'
import { type ContainerEngine, isRefusal } from './engine.ts'

/** What an engine knows of an image that it has. */
export interface ImageFacts {
  /** The image's own, whatever its names. */
  readonly id: Digest
  /** `repository@sha256:…` of the registries it came from or went to. */
  readonly repositoryDigests: readonly string[]
  /** Entrypoint and command in one; null = the image says nothing about what to run. */
  readonly command: readonly string[] | null
  /** TCP, ascending. */
  readonly exposedPorts: readonly number[]
  readonly labels: Readonly<Record<string, string>>
  /** What it has a build do that begins with it (ONBUILD). */
  readonly triggers: readonly string[]
  /** Its PATH; null where it names none. */
  readonly path: string | null
  /** `linux/amd64`, `linux/arm64/v8`. */
  readonly platform: string
  readonly bytes: number
}

interface Answer {
  readonly Id: string
  readonly RepoDigests?: readonly string[] | null
  readonly Os?: string
  readonly Architecture?: string
  readonly Variant?: string
  readonly Size?: number
  readonly Config?: {
    readonly Entrypoint?: readonly string[] | null
    readonly Cmd?: readonly string[] | null
    readonly Env?: readonly string[] | null
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null
    readonly Labels?: Readonly<Record<string, string>> | null
    readonly OnBuild?: readonly string[] | null
  } | null
}

/** By id, tag or digest; null = this engine does not have it. */
export async function findImageFacts(engine: ContainerEngine, name: string, signal?: AbortSignal): Promise<ImageFacts | null> {
  try {
    return factsOf(await engine.json<Answer>('GET', `/images/${encodeURIComponent(name)}/json`, signal === undefined ? {} : { signal }))
  } catch (error) {
    if (isRefusal(error, 400, 404)) return null
    throw error
  }
}

function factsOf(answer: Answer): ImageFacts {
  const config = answer.Config ?? {}
  const command = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])]
  return {
    // Podman says ids without their algorithm.
    id: (answer.Id.includes(':') ? answer.Id : `sha256:${answer.Id}`) as Digest,
    repositoryDigests: answer.RepoDigests ?? [],
    command: command.length === 0 ? null : command,
    exposedPorts: Object.keys(config.ExposedPorts ?? {})
      .filter((port) => /^\d+(\/tcp)?$/.test(port))
      .map((port) => Number.parseInt(port, 10))
      .sort((a, b) => a - b),
    labels: config.Labels ?? {},
    triggers: config.OnBuild ?? [],
    path: config.Env?.find((entry) => entry.startsWith('PATH='))?.slice('PATH='.length) ?? null,
    platform: [answer.Os ?? 'linux', answer.Architecture ?? '', answer.Variant ?? ''].filter((part) => part !== '').join('/'),
    bytes: answer.Size ?? 0,
  }
}
