/** How members resolve names, as far as this host does. */
export interface ResolverPlan {
  /** Text of their resolv.conf. */
  readonly text: string
  /** Address of this host where a resolver listens that they reach by way of the host's end; null = none is needed. */
  readonly forwardTo: string | null
  /** Resolvers at link-local addresses, as some clouds have them. */
  readonly linkLocal: readonly string[]
}

/** What systemd-resolved says to those who can't reach its stub, which takes nothing but what comes over the loopback interface. */
export const RESOLVED_FILE = '/run/systemd/resolve/resolv.conf'

/**
 * `own` = text of /etc/resolv.conf, `resolved` = that of RESOLVED_FILE or null. A resolver on this host itself is reached through `host`, the host's
 * end of the members' link. Resolvers with IPv6 addresses are left out: members have none.
 */
export function planResolvers(
  own: string,
  resolved: string | null,
  { host, isLocal }: { readonly host: string; isLocal(address: string): boolean },
): ResolverPlan {
  const ownServers = nameservers(own)
  const isStub = ownServers.length > 0 && ownServers.every((address) => address === '127.0.0.53' || address === '127.0.0.54')
  const text = isStub && resolved !== null && nameservers(resolved).length > 0 ? resolved : own
  const servers = nameservers(text)
  // Without any, programs ask 127.0.0.1.
  const reachable = (servers.length === 0 ? ['127.0.0.1'] : servers).filter((address) => !address.includes(':'))
  const local = reachable.filter((address) => /^127\./.test(address) || isLocal(address))
  const remote = reachable.filter((address) => !local.includes(address))
  const listed = [...(local.length > 0 ? [host] : []), ...remote]
  const rest = text.split('\n').filter((line) => /^(search|domain|options)\s/.test(line))
  return {
    text: `${[...listed.slice(0, 3).map((address) => `nameserver ${address}`), ...rest].join('\n')}\n`,
    forwardTo: local[0] ?? null,
    linkLocal: remote.filter((address) => address.startsWith('169.254.')),
  }
}

function nameservers(text: string): readonly string[] {
  return text.split('\n').flatMap((line) => /^\s*nameserver\s+([0-9A-Fa-f:.]+)/.exec(line)?.[1] ?? [])
}
