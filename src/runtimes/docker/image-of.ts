import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { Artifact } from '../../domain/deployment.ts'

export interface LocalImage {
  /** What containers are made from: the image's own id, never a tag. */
  readonly id: string
  readonly entrypoint: readonly string[]
  readonly command: readonly string[]
  /** TCP ports that it says it listens on, ascending. */
  readonly exposedPorts: readonly number[]
  /** Its PATH; null where it names none. */
  readonly path: string | null
  /** Names of its labels. */
  readonly labels: readonly string[]
}

interface ImageFacts {
  readonly Id: string
  readonly RepoDigests?: readonly string[] | null
  readonly Config?: {
    readonly Entrypoint?: readonly string[] | null
    readonly Cmd?: readonly string[] | null
    readonly Env?: readonly string[] | null
    readonly ExposedPorts?: Readonly<Record<string, unknown>> | null
    readonly Labels?: Readonly<Record<string, string>> | null
  } | null
}

type ImageArtifact = Extract<Artifact, { kind: 'image' }>

/**
 * The image of a release as this engine has it. The digest decides: an image's own id, or the digest of its manifest in a registry. A tag
 * that was moved meanwhile changes nothing (I7). null = it is not here.
 */
export async function findEngineImage(engine: ContainerEngine, artifact: ImageArtifact, signal?: AbortSignal): Promise<LocalImage | null> {
  for (const name of namesOf(artifact)) {
    const facts = await inspectImage(engine, name, signal)
    if (facts === null) continue
    const digests = [normalized(facts.Id), ...(facts.RepoDigests ?? []).map((entry) => entry.slice(entry.indexOf('@') + 1))]
    if (digests.includes(artifact.digest)) return localImage(facts)
  }
  return null
}

/** An image under any name that the engine knows; null = not here. */
export async function inspectImage(engine: ContainerEngine, name: string, signal?: AbortSignal): Promise<ImageFacts | null> {
  try {
    return await engine.json<ImageFacts>('GET', `/images/${encodeURIComponent(name)}/json`, signal === undefined ? {} : { signal })
  } catch (error) {
    if (isRefusal(error, 404)) return null
    if (isRefusal(error, 400)) throw new ShiplockError('LAUNCH_FAILED', `${printable(name)} is no image name: ${error.message}`)
    throw error
  }
}

export function localImage(facts: ImageFacts): LocalImage {
  const ports = Object.keys(facts.Config?.ExposedPorts ?? {})
  const path = facts.Config?.Env?.find((entry) => entry.startsWith('PATH='))
  return {
    id: normalized(facts.Id),
    entrypoint: facts.Config?.Entrypoint ?? [],
    command: facts.Config?.Cmd ?? [],
    exposedPorts: ports
      .filter((port) => /^\d+(\/tcp)?$/.test(port))
      .map((port) => Number.parseInt(port, 10))
      .sort((a, b) => a - b),
    path: path === undefined ? null : path.slice('PATH='.length),
    labels: Object.keys(facts.Config?.Labels ?? {}),
  }
}

function namesOf({ digest, reference }: ImageArtifact): readonly string[] {
  // `registry:5000/name:tag@sha256:…`: the tag is after the last slash.
  const withoutDigest = reference.replace(/@.*$/, '')
  const repository = withoutDigest.replace(/:[^/:]*$/, '')
  const isName = repository !== '' && !repository.startsWith('sha256')
  return isName ? [digest, `${repository}@${digest}`, withoutDigest] : [digest]
}

/** Podman says ids without their algorithm. */
function normalized(id: string): string {
  return id.includes(':') ? id : `sha256:${id}`
}
