import { isRouteHost } from '../swap-request.ts'

export interface TraefikRouting {
  /** Where Traefik reaches the edge that switches: `http://127.0.0.1:8080`. It never changes, so no swap changes this document. */
  readonly innerUrl: string
  /** Names of Traefik's entry points; empty = all of its default ones. */
  readonly entryPoints: readonly string[]
  /** Traefik's certificate resolver; null = no TLS here. */
  readonly certResolver: string | null
}

/** The part of Traefik's dynamic configuration (v2.3 and newer, v3) that Shiplock writes. */
export interface DynamicDocument {
  readonly http?: {
    readonly routers: Readonly<Record<string, TraefikRouter>>
    readonly services: Readonly<Record<string, unknown>>
    readonly serversTransports: Readonly<Record<string, unknown>>
  }
}

interface TraefikRouter {
  readonly rule: string
  readonly service: string
  readonly entryPoints?: readonly string[]
  readonly tls?: { readonly certResolver: string }
}

const NAME = 'shiplock'

/** One router per host, all to the inner edge. A host that could break out of its rule is left out (I9); order does not matter. */
export function dynamicDocument(hosts: Iterable<string>, routing: TraefikRouting): DynamicDocument {
  const known = [...new Set(hosts)].filter(isRouteHost).sort()
  // Traefik refuses a document whose `routers` or `services` are empty.
  if (known.length === 0) return {}
  const { innerUrl, entryPoints, certResolver } = routing
  const routers = known.map((host): [string, TraefikRouter] => [
    routerName(host),
    {
      rule: hostRule(host),
      service: NAME,
      ...(entryPoints.length === 0 ? {} : { entryPoints }),
      ...(certResolver === null ? {} : { tls: { certResolver } }),
    },
  ])
  return {
    http: {
      routers: Object.fromEntries(routers),
      services: {
        [NAME]: {
          loadBalancer: {
            servers: [{ url: innerUrl }],
            passHostHeader: true,
            serversTransport: NAME,
            // Server-sent events and slow answers are passed on as they come.
            responseForwarding: { flushInterval: '1ms' },
          },
        },
      },
      // Shorter than the inner edge keeps idle connections: Traefik never sends a request into one that is just being closed.
      serversTransports: { [NAME]: { forwardingTimeouts: { idleConnTimeout: '30s', dialTimeout: '5s' } } },
    },
  }
}

export function hostRule(host: string): string {
  return `Host(\`${host.replace(/^\[|\]$/g, '')}\`)`
}

/** Without dots and `@`, which mean something to Traefik. Different hosts never share one: a label does not begin with a hyphen. */
function routerName(host: string): string {
  return `${NAME}-${host.replaceAll('-', '--').replaceAll('.', '-')}`
}
