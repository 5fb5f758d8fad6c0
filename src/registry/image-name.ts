/** Grammar of OCI distribution and Docker references: lower case, no empty component, at most 255 characters in all. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/
const HOST = /^(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?|\[[0-9a-f:.]{2,45}\])(?::[0-9]{1,5})?$/i
const NAME_LENGTH_MAX = 255
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io'])

/** Where images go: `host[:port]` and the path below which each project has its own. */
export interface RegistryPrefix {
  readonly host: string
  /** '' or `team/apps`. */
  readonly path: string
}

/** `registry.example.com:5000/team/apps`, as the settings have checked it, in its parts. */
export function parseRegistryPrefix(text: string): RegistryPrefix {
  const [host = '', ...components] = text.split('/')
  return { host, path: components.join('/') }
}

/** A repository at a registry, as both the HTTP API (`path`) and the engine (`name`) call it. */
export interface Repository {
  readonly host: string
  readonly path: string
  /** `host/path`. */
  readonly name: string
}

/** `<prefix>/<project>/<service>`; null when no registry could hold a repository of that name (I9). */
export function repositoryBelow(prefix: RegistryPrefix, repository: string): Repository | null {
  const path = prefix.path === '' ? repository : `${prefix.path}/${repository}`
  const name = `${prefix.host}/${path}`
  if (name.length > NAME_LENGTH_MAX || !path.split('/').every((component) => COMPONENT.test(component))) return null
  return { host: prefix.host, path, name }
}

/** `host/path@sha256:…` in its parts; null when it is something else. */
export function parsePublished(reference: string): (Repository & { readonly digest: string }) | null {
  const [name = '', digest = ''] = reference.split('@')
  const slash = name.indexOf('/')
  if (slash < 1 || !/^sha256:[0-9a-f]{64}$/.test(digest)) return null
  const host = name.slice(0, slash)
  const path = name.slice(slash + 1)
  return HOST.test(host) && path.split('/').every((component) => COMPONENT.test(component)) ? { host, path, name, digest } : null
}

/** Docker Hub answers its HTTP API elsewhere than at its name. */
export function apiHost(host: string): string {
  return DOCKER_HUB.has(host) ? 'registry-1.docker.io' : host
}
