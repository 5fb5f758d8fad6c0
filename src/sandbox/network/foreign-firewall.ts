import { readFileSync, writeFileSync } from 'node:fs'
import { findProgram, type NetworkTools, runTool } from './network-tools.ts'

/**
 * What other rules of the host do to traffic of ours. A table of our own can't allow what another one drops, so Docker's and ufw's chains
 * (those of iptables) get an entry at their head; what other firewalls drop is told by `doctor`.
 */
export class ForeignFirewall {
  readonly #tools: NetworkTools
  readonly #link: string
  readonly #iptables = findProgram('iptables')

  constructor(tools: NetworkTools, link: string) {
    this.#tools = tools
    this.#link = link
  }

  /** `reachesHost`: something of the host itself is reachable, so that its input rules are asked as well. Repeating it is no harm. */
  async admit(reachesHost: boolean): Promise<void> {
    if (this.#iptables === null) return
    const wanted = [...this.#entries('FORWARD'), ...(reachesHost ? this.#entries('INPUT') : [])]
    for (const { chain, rule } of wanted) {
      if (!(await this.#hasChain(chain)) || (await this.#try('-C', chain, rule))) continue
      await this.#try('-I', chain, rule)
    }
  }

  async withdraw(): Promise<void> {
    if (this.#iptables === null) return
    for (const { chain, rule } of [...this.#entries('FORWARD'), ...this.#entries('INPUT')]) {
      if (!(await this.#hasChain(chain))) continue
      // Twice is possible where somebody restored saved rules.
      for (let count = 0; count < 5 && (await this.#try('-D', chain, rule)); count++);
    }
  }

  #entries(chain: 'FORWARD' | 'INPUT'): readonly { readonly chain: string; readonly rule: readonly string[] }[] {
    const named = ['-m', 'comment', '--comment', 'shiplock', '-j', 'ACCEPT']
    if (chain === 'INPUT') return [{ chain, rule: ['-i', this.#link, ...named] }]
    return [
      { chain, rule: ['-i', this.#link, ...named] },
      { chain, rule: ['-o', this.#link, '-m', 'conntrack', '--ctstate', 'RELATED,ESTABLISHED', ...named] },
    ]
  }

  /** Asked first: iptables would make its tables by looking. */
  async #hasChain(chain: string): Promise<boolean> {
    if (read('/proc/net/ip_tables_names').split('\n').includes('filter')) return true
    return runTool(this.#tools.nft, ['list', 'chain', 'ip', 'filter', chain]).then(
      () => true,
      () => false,
    )
  }

  #try(action: '-C' | '-I' | '-D', chain: string, rule: readonly string[]): Promise<boolean> {
    return runTool(this.#iptables ?? '', ['-w', '5', action, chain, ...rule]).then(
      () => true,
      () => false,
    )
  }
}

/** Chains of the host, other than ours and iptables', that drop what they do not know of forwarded traffic. */
export async function droppingChains(tools: NetworkTools): Promise<readonly string[]> {
  const text = await runTool(tools.nft, ['list', 'chains']).catch(() => '')
  const found: string[] = []
  let table = ''
  let chain = ''
  for (const line of text.split('\n')) {
    table = /^table (\S+ \S+) \{/.exec(line)?.[1] ?? table
    chain = /^\s+chain (\S+) \{/.exec(line)?.[1] ?? chain
    if (/hook forward .*policy drop/.test(line) && table !== 'ip filter' && !table.startsWith('ip6 ')) found.push(`${table} ${chain}`)
  }
  return found
}

/** Interfaces with a default route, and other ones over which networks beyond this host are reached. */
export function uplinksOf(routes: string): readonly string[] {
  const devices = routes
    .split('\n')
    .flatMap((line) => (/ via /.test(line) || line.startsWith('default ') ? (/ dev (\S+)/.exec(line)?.[1] ?? []) : []))
  return [...new Set(devices)].filter((name) => /^[A-Za-z0-9._@-]{1,15}$/.test(name) && !name.startsWith('sl'))
}

/**
 * Lets what comes from our link and back from outside pass through this host. Where it forwards nothing by itself only these
 * interfaces do; returns which of them do it for our sake alone.
 */
export function allowForwarding(link: string, uplinks: readonly string[]): readonly string[] {
  if (read('/proc/sys/net/ipv4/ip_forward') === '1') return []
  write(`/proc/sys/net/ipv4/conf/${link}/forwarding`, '1')
  for (const name of uplinks) write(`/proc/sys/net/ipv4/conf/${name}/forwarding`, '1')
  return uplinks
}

/** Undoes it, unless the host forwards anyway by now. */
export function endForwarding(guarded: readonly string[]): void {
  if (read('/proc/sys/net/ipv4/ip_forward') === '1') return
  for (const name of guarded) write(`/proc/sys/net/ipv4/conf/${name}/forwarding`, '0')
}

/** Sysctls of the host's end; a kernel without IPv6 has not all of them. */
export function prepareLink(link: string): void {
  write(`/proc/sys/net/ipv6/conf/${link}/disable_ipv6`, '1')
  write(`/proc/sys/net/ipv4/conf/${link}/route_localnet`, '1')
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1').trim()
  } catch {
    return ''
  }
}

function write(file: string, value: string): void {
  try {
    writeFileSync(file, value)
  } catch {}
}
