interface Indexed {
  readonly record: { readonly hosts: readonly string[]; readonly pathPrefix: string }
}

/** Finds a route by host and path; the longest prefix wins. Built anew with each change, read on every request. */
export class RouteIndex<Route extends Indexed> {
  readonly #byHost = new Map<string, Route[]>()

  constructor(routes: Iterable<Route>) {
    for (const route of routes) {
      for (const host of route.record.hosts) {
        const list = this.#byHost.get(host)
        if (list === undefined) this.#byHost.set(host, [route])
        else list.push(route)
      }
    }
    for (const list of this.#byHost.values()) list.sort((a, b) => b.record.pathPrefix.length - a.record.pathPrefix.length)
  }

  find(host: string, path: string): Route | null {
    const list = this.#byHost.get(host)
    if (list === undefined) return null
    for (const route of list) if (isUnder(route.record.pathPrefix, path)) return route
    return null
  }
}

/** `/api` covers `/api`, `/api/x` and `/api?x`, not `/apix`. */
export function isUnder(prefix: string, path: string): boolean {
  if (prefix === '') return true
  if (!path.startsWith(prefix)) return false
  const next = path.charCodeAt(prefix.length)
  return Number.isNaN(next) || next === 47 || next === 63
}
