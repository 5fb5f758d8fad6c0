import { type ContainerEngine, isRefusal } from '../container-engine/engine.ts'
import { LIMITS } from '../core/limits.ts'
import type { StoredImage } from '../domain/garbage.ts'
import type { ImageStore } from './image-store.ts'

/** The label by which an image says who built it; the runtime's containers carry the same. */
export const OWNER_LABEL = 'shiplock.owner'

interface ImageEntry {
  readonly Id: string
  readonly RepoTags?: readonly string[] | null
  readonly RepoDigests?: readonly string[] | null
  readonly Labels?: Readonly<Record<string, string>> | null
  readonly Size?: number
  /** Seconds since the epoch. */
  readonly Created?: number
}

interface DiskUse {
  readonly LayersSize?: number
  readonly BuildCache?: readonly { readonly Size?: number; readonly Shared?: boolean }[] | null
}

/** Of any engine with the Docker API. */
export function createEngineImageStore(
  engine: ContainerEngine,
  owner: string,
  networks: { pruneNetworks(): Promise<number> } | null = null,
): ImageStore {
  return {
    owner,
    get isReachable() {
      return engine.isReachable
    },
    root: async () => {
      if (!engine.isLocal || !engine.isReachable) return null
      const { DockerRootDir: root } = await engine.json<{ DockerRootDir?: string }>('GET', '/info')
      return root === undefined || root === '' ? null : root
    },
    list: async () => (await engine.json<readonly ImageEntry[]>('GET', '/images/json')).map(storedImage),
    remove: async (image, names) => {
      // One name after the other: what has several is refused by its id.
      for (const name of names.length > 0 ? names : [image.id]) if (!(await removeName(engine, name))) return false
      return true
    },
    usedBytes: async () => {
      const { LayersSize = 0, BuildCache } = await engine.json<DiskUse>('GET', '/system/df', { timeoutMs: LIMITS.engineSlowCallMs })
      return LayersSize + (BuildCache ?? []).reduce((sum, entry) => sum + (entry.Shared === true ? 0 : (entry.Size ?? 0)), 0)
    },
    pruneNetworks: async () => (networks === null ? 0 : networks.pruneNetworks()),
    pruneBuildCache: async (keepBytes) => {
      try {
        const pruned = await engine.json<{ SpaceReclaimed?: number }>('POST', '/build/prune', {
          // Newer engines call it reserved-space; they still take the old name.
          query: { all: true, 'keep-storage': keepBytes },
          timeoutMs: LIMITS.engineSlowCallMs,
        })
        return pruned?.SpaceReclaimed ?? 0
      } catch (error) {
        // Podman has no build cache of that kind.
        if (isRefusal(error, 404, 405, 501)) return 0
        throw error
      }
    },
  }
}

function storedImage(entry: ImageEntry): StoredImage {
  const isNamed = (name: string) => !name.startsWith('<none>')
  return {
    id: entry.Id.includes(':') ? entry.Id : `sha256:${entry.Id}`,
    tags: (entry.RepoTags ?? []).filter(isNamed),
    digests: (entry.RepoDigests ?? []).filter(isNamed),
    owner: entry.Labels?.[OWNER_LABEL] ?? null,
    bytes: entry.Size ?? 0,
    createdAt: (entry.Created ?? 0) * 1000,
  }
}

async function removeName(engine: ContainerEngine, name: string): Promise<boolean> {
  try {
    await engine.json('DELETE', `/images/${encodeURIComponent(name)}`, { query: { force: false, noprune: false } })
    return true
  } catch (error) {
    if (isRefusal(error, 404)) return true
    if (isRefusal(error, 409)) return false
    throw error
  }
}
