import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { SwapRequest } from './edge.ts'

// A host name as RFC 1123 has it, plus `_`, which people do use. No port, no wildcard, lower case.
const HOST = /^(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]{0,62})(?:\.[a-z0-9_](?:[a-z0-9_-]{0,62}))*$/
const IPV6 = /^\[[0-9a-f:.]{2,45}\]$/
const PREFIX = /^(?:\/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*$/

/** Nothing that a rule, label or header could be broken out of. */
export function isRouteHost(host: string): boolean {
  return HOST.test(host) || IPV6.test(host)
}

/** Refuses what could not be routed, and says where it stands (I9). */
export function checkSwapRequest(request: SwapRequest): void {
  refuseUnless(request.hosts.length <= LIMITS.edgeRouteHosts, `hosts: more than ${LIMITS.edgeRouteHosts}`)
  refuseUnless(new Set(request.hosts).size === request.hosts.length, 'hosts: the same host twice')
  for (const [index, host] of request.hosts.entries()) {
    refuseUnless(isRouteHost(host), `hosts[${index}]: ${JSON.stringify(host)} is not a lower-case host name without port`)
  }
  refuseUnless(
    PREFIX.test(request.pathPrefix),
    `pathPrefix: ${JSON.stringify(request.pathPrefix)} is neither empty nor /like/this without a slash at the end`,
  )
  refuseUnless(request.targets.length <= LIMITS.edgeRouteTargets, `targets: more than ${LIMITS.edgeRouteTargets}`)
  for (const [index, target] of request.targets.entries()) {
    refuseUnless(
      Number.isInteger(target.port) && target.port > 0 && target.port < 65_536,
      `targets[${index}].port: ${target.port} is not a port`,
    )
    refuseUnless(/^[A-Za-z0-9._:-]{1,253}$/.test(target.host), `targets[${index}].host: ${JSON.stringify(target.host)} is not a host`)
    refuseUnless(target.instanceId !== '', `targets[${index}].instanceId: empty`)
  }
}

function refuseUnless(isRight: boolean, what: string): void {
  if (!isRight) throw new ShiplockError('INPUT_INVALID', `swap refused, ${what}`)
}
