import { ShiplockError } from '../../core/errors.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import { isRouteHost } from '../swap-request.ts'
import { hostRule } from './dynamic-document.ts'

export interface TraefikLabelSettings {
  /** The network in which Traefik reaches containers. */
  readonly network: string
  readonly entryPoints: readonly string[]
  readonly certResolver: string | null
}

/**
 * Labels by which a Traefik with the Docker provider finds a container by itself. While two versions run both carry the same router and
 * service, and Traefik sends to both, from the start of a container on: no readiness, no swap at once. `docs/drivers.md` says when that is
 * good enough. @throws INPUT_INVALID
 */
export function traefikLabels(
  routeId: ServiceEnvironmentId,
  host: string,
  port: number,
  settings: TraefikLabelSettings,
): Readonly<Record<string, string>> {
  if (!isRouteHost(host)) throw new ShiplockError('INPUT_INVALID', `${JSON.stringify(host)} is no host that Traefik could be told`)
  const { network, entryPoints, certResolver } = settings
  const name = `shiplock-${routeId.toLowerCase().replace(/[^a-z0-9]/g, '-')}`
  const router = `traefik.http.routers.${name}`
  return {
    'traefik.enable': 'true',
    'traefik.docker.network': network,
    [`${router}.rule`]: hostRule(host),
    [`${router}.service`]: name,
    ...(entryPoints.length === 0 ? {} : { [`${router}.entrypoints`]: entryPoints.join(',') }),
    ...(certResolver === null ? {} : { [`${router}.tls`]: 'true', [`${router}.tls.certresolver`]: certResolver }),
    [`traefik.http.services.${name}.loadbalancer.server.port`]: String(port),
  }
}
