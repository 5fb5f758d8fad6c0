import type { HostGuard } from '../core/host-guard.ts'
import type { ContainerEngine, EngineRequest } from './engine.ts'

/** Docker Hub: the engine knows its own way there. */
const HUB = 'docker.io'

/**
 * The same engine for what members name: before it is sent to a registry, the registry's host is looked up, and refused where it is
 * one that this server does not call. The engine looks the name up again; what it may reach by itself is up to the network around it.
 * `trusted`: registries (`host` or `host:port`) that the server's owner has named.
 */
export function guardRegistries(engine: ContainerEngine, hosts: HostGuard, trusted: readonly string[]): ContainerEngine {
  const check = async (path: string, request: EngineRequest | undefined): Promise<void> => {
    const name = registryName(path, request)
    const host = name === null ? HUB : hostOf(name)
    if (host === HUB || trusted.includes(host)) return
    await hosts.resolve(new URL(`https://${host}`).hostname, request?.signal ?? new AbortController().signal)
  }
  return {
    address: engine.address,
    isLocal: engine.isLocal,
    get isReachable() {
      return engine.isReachable
    },
    version: (signal) => engine.version(signal),
    json: async (method, path, request) => {
      await check(path, request)
      return engine.json(method, path, request)
    },
    stream: async (method, path, request) => {
      await check(path, request)
      return engine.stream(method, path, request)
    },
    close: () => engine.close(),
  }
}

/** The image name in a call that makes the engine speak to a registry; null = it does not. */
function registryName(path: string, request: EngineRequest | undefined): string | null {
  const asked = /^\/distribution\/(.+)\/json$/.exec(path)?.[1]
  if (asked !== undefined) return asked
  const pulled = path === '/images/create' ? request?.query?.fromImage : undefined
  if (pulled !== undefined) return String(pulled)
  return /^\/images\/(.+)\/push$/.exec(path)?.[1] ?? null
}

/** As engines read names: the first part is a host when it looks like one. */
function hostOf(name: string): string {
  const slash = name.indexOf('/')
  const first = slash === -1 ? '' : name.slice(0, slash).toLowerCase()
  return first === 'localhost' || /[.:[]/.test(first) ? first : HUB
}
