/** Where a server's networks meet the host; everything is told apart by the names in here. */
export interface NetworkPlan {
  /** Interface of the host behind which all networks of this server are. */
  readonly hostInterface: string
  /** nft table of the host. */
  readonly hostTable: string
  /** `10.64.16.0/20`. */
  readonly range: string
  /** The host's address at that interface. */
  readonly host: string
  /** The router's, which is every member's gateway. */
  readonly router: string
}

export interface HostRules {
  /** Ports of the host's loopback that some project may reach. */
  readonly ports: readonly number[]
  /** TCP ports of the host's other addresses that everybody may reach: the edge's, where it faces the world. */
  readonly open: readonly number[]
  /** Address of this host where its resolver listens; null = resolvers are elsewhere. */
  readonly resolver: string | null
  /** Interfaces that lead out; whatever their names. */
  readonly uplinks: readonly string[]
  /** Interfaces that forward only for us: nothing else may pass from them. */
  readonly guarded: readonly string[]
}

/** One side of what may pass in the router: members of one environment have one group, which their interfaces carry. */
export interface RouterRules {
  readonly groups: readonly number[]
  readonly hostPorts: readonly { readonly group: number; readonly port: number }[]
  /** Resolvers in places that are out of reach otherwise (link-local). */
  readonly resolvers: readonly string[]
}

/** Name of the router's end of the link to the host. */
export const UPLINK = 'host0'
/** The table's name in namespaces of ours, where nobody else has one. */
const TABLE = 'shiplock'
const REFUSE = `meta l4proto tcp reject with tcp reset
    reject with icmp type admin-prohibited`
/** Never sent out for a member: link-local (a cloud's metadata), loopback, this network, multicast and above. */
const NOWHERE = '{ 0.0.0.0/8, 127.0.0.0/8, 169.254.0.0/16, 224.0.0.0/3 }'

/** Interfaces behind which other people's containers and machines are, by the names that their engines give; other servers of ours too. */
const OTHER_NETWORKS = ['docker*', 'br-*', 'podman*', 'cni*', 'virbr*', 'lxcbr*', 'incusbr*', 'sl*']

/**
 * Rules of the host: what comes from the networks reaches nothing of the host but what is named, nothing from elsewhere begins a
 * connection to them past the edge, nor does anybody on the host but root, whose the edge is (builds run here, as users of their project),
 * and what they send out has the host's address.
 */
export function hostRuleset(plan: NetworkPlan, rules: HostRules): string {
  const { hostInterface: link, host } = plan
  const resolver =
    rules.resolver === null
      ? ''
      : `iifname "${link}" ip daddr ${host} udp dport 53 dnat to ${rules.resolver}
    iifname "${link}" ip daddr ${host} tcp dport 53 dnat to ${rules.resolver}`
  const ports = rules.ports.length === 0 ? '' : `iifname "${link}" ip daddr ${host} tcp dport ${setOf(rules.ports)} dnat to 127.0.0.1`
  const open = rules.open.length === 0 ? '' : `tcp dport ${setOf(rules.open)} accept`
  const guard = rules.guarded.length === 0 ? '' : `iifname ${quoted(rules.guarded)} oifname != "sl*" drop`
  const uplinks = rules.uplinks.length === 0 ? '' : `iifname "${link}" oifname ${quoted(rules.uplinks)} accept`
  const outward = [uplinks, ...OTHER_NETWORKS.map((name) => `iifname "${link}" oifname "${name}" goto refused`)].join('\n    ')
  return `${fresh(plan.hostTable)}
table ip ${plan.hostTable} {
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname "${link}" ip daddr 127.0.0.0/8 drop
    iifname "${link}" ip saddr != ${plan.range} drop
  }
  chain named {
    type nat hook prerouting priority -100; policy accept;
    ${resolver}
    ${ports}
  }
  chain from_loopback {
    type nat hook input priority 100; policy accept;
    iifname "${link}" ct status dnat snat to 127.0.0.1
  }
  chain input {
    type filter hook input priority -10; policy accept;
    iifname "${link}" goto from_members
  }
  chain from_members {
    ct state established,related accept
    ct status dnat accept
    ${open}
    ${REFUSE}
  }
  chain forward {
    type filter hook forward priority -10; policy accept;
    oifname "${link}" ct state new drop
    iifname "${link}" ct state invalid drop
    ${outward}
    ${guard}
  }
  chain output {
    type filter hook output priority -10; policy accept;
    oifname "${link}" ct state new meta skuid != 0 goto refused
  }
  chain refused {
    ${REFUSE}
  }
  chain out {
    type nat hook postrouting priority 100; policy accept;
    ip saddr ${plan.range} oifname != "${link}" masquerade
  }
}
`
}

/** Rules of the router: the host reaches members, members of one environment reach each other and what is outside, and nothing else passes. */
export function routerRuleset(plan: NetworkPlan, rules: RouterRules): string {
  const peers = elements(rules.groups.map((group) => `${group} . ${group}`))
  const hostPorts = elements(rules.hostPorts.map(({ group, port }) => `${group} . ${port}`))
  const resolvers =
    rules.resolvers.length === 0
      ? ''
      : `ip daddr ${setOf(rules.resolvers)} udp dport 53 accept
    ip daddr ${setOf(rules.resolvers)} tcp dport 53 accept`
  return `${fresh(TABLE)}
table ip ${TABLE} {
  set peers {
    type devgroup . devgroup
    ${peers}
  }
  set host_ports {
    type devgroup . inet_service
    ${hostPorts}
  }
  chain own_address {
    type filter hook prerouting priority -300; policy accept;
    fib saddr . iif oif missing drop
  }
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    icmp type echo-request accept
    ${REFUSE}
  }
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    ct state invalid drop
    iifname "${UPLINK}" ip saddr ${plan.host} accept
    iifname "${UPLINK}" drop
    meta iifgroup . meta oifgroup @peers accept
    oifname "${UPLINK}" goto outside
    ${REFUSE}
  }
  chain outside {
    ip daddr ${plan.host} meta iifgroup . tcp dport @host_ports accept
    ip daddr ${plan.host} udp dport 53 accept
    ip daddr ${plan.host} tcp dport 53 accept
    ${resolvers}
    ip daddr ${plan.range} goto refused
    ip daddr ${NOWHERE} goto refused
    accept
  }
  chain refused {
    ${REFUSE}
  }
}
`
}

/** Adds what an environment may; adding it twice is no harm. */
export function admitGroup(group: number, hostPorts: readonly number[]): string {
  const ports = hostPorts.map((port) => `add element ip ${TABLE} host_ports { ${group} . ${port} }\n`).join('')
  return `add element ip ${TABLE} peers { ${group} . ${group} }\n${ports}`
}

/**
 * Rules in a member's own namespace. What is for its port goes to its loopback, where an app that listens everywhere hears it as one that
 * listens on 127.0.0.1 only; what comes from the edge seems to come from there, as it does without namespaces (apps trust such a proxy).
 * Ports of the host's loopback that were named answer on the member's loopback.
 */
export function memberRuleset(plan: NetworkPlan, port: number | null, hostPorts: readonly number[]): string {
  const inward =
    port === null
      ? ''
      : `chain to_loopback {
    type nat hook prerouting priority -100; policy accept;
    iifname "eth0" tcp dport ${port} dnat to 127.0.0.1
  }
  chain from_edge {
    type nat hook input priority 100; policy accept;
    iifname "eth0" ip saddr ${plan.host} tcp dport ${port} snat to 127.0.0.1
  }`
  const outward =
    hostPorts.length === 0
      ? ''
      : `chain to_host {
    type nat hook output priority -100; policy accept;
    ip daddr 127.0.0.1 tcp dport ${setOf(hostPorts)} dnat to ${plan.host}
  }
  chain own_address {
    type nat hook postrouting priority 100; policy accept;
    oifname "eth0" ip saddr 127.0.0.0/8 masquerade
  }`
  return `${fresh(TABLE)}
table ip ${TABLE} {
  chain raw {
    type filter hook prerouting priority -300; policy accept;
    iifname "eth0" ip daddr 127.0.0.0/8 drop
    iifname "eth0" ip saddr 127.0.0.0/8 drop
  }
  ${inward}
  ${outward}
}
`
}

/** nft replaces a table in one step only like this: it must be there to be deleted. */
function fresh(table: string): string {
  return `table ip ${table} {}\ndelete table ip ${table}`
}

function elements(entries: readonly string[]): string {
  return entries.length === 0 ? '' : `elements = ${setOf(entries)}`
}

function setOf(entries: readonly (string | number)[]): string {
  return `{ ${entries.join(', ')} }`
}

function quoted(names: readonly string[]): string {
  return setOf(names.map((name) => `"${name}"`))
}
