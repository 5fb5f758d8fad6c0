import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { networkInterfaces } from 'node:os'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { ShiplockError } from '../../core/errors.ts'
import { bootId } from '../../core/process-identity.ts'
import { type AddressRange, addressAt, drawnRanges, formatRange, overlaps, parseRange, routedRanges } from './address-range.ts'
import { allowForwarding, endForwarding, ForeignFirewall, prepareLink, uplinksOf } from './foreign-firewall.ts'
import { register, unregister } from './host-register.ts'
import { rewriteMounted } from './hosts-file.ts'
import { NAMESPACES, type NetworkTools, runTool } from './network-tools.ts'
import { planResolvers, RESOLVED_FILE } from './resolvers.ts'
import { hostRuleset, type NetworkPlan, type RouterRules, routerRuleset, UPLINK } from './rulesets.ts'

export interface RouterOptions {
  /** Hash of the state directory; names everything on the host. */
  readonly engine: string
  /** Of the networks. */
  readonly directory: string
  readonly tools: NetworkTools
  /** Named by the owner; null = drawn. */
  readonly range: AddressRange | null
  readonly hostPorts: readonly number[]
  readonly openPorts: readonly number[]
}

/** IP: stdin is a batch for it. */
const ROUTER_SCRIPT = `
echo 1 >/proc/sys/net/ipv4/ip_forward || exit 1
for family in all default; do { echo 1 >/proc/sys/net/ipv6/conf/$family/disable_ipv6; } 2>/dev/null; done
exec "$1" -batch -
`.trim()
/** Of the network that this process is in; /sys shows that of whoever mounted it. */
const INTERFACES = '/proc/sys/net/ipv4/conf'
/** After every route that leads somewhere. */
const NOWHERE_METRIC = '4000000000'

/**
 * The namespace between the host and all networks of this server: whatever passes from member to member or to the outside passes here, by
 * rules that nobody else touches. The host has one interface, one route and one table of it.
 */
export class Router {
  readonly namespace: string
  readonly mtu = uplinkMtu()
  readonly #options: RouterOptions
  readonly #link: string
  readonly #table: string
  readonly #foreign: ForeignFirewall
  /** One search at a time: two at once would settle on two ranges. */
  #range: Promise<AddressRange> | null = null
  #guarded: readonly string[] = []

  constructor(options: RouterOptions) {
    this.#options = options
    this.namespace = `shiplock-${options.engine}`
    this.#link = `sl${options.engine}`
    this.#table = `shiplock_${options.engine}`
    this.#foreign = new ForeignFirewall(options.tools, this.#link)
  }

  get exists(): boolean {
    return existsSync(join(NAMESPACES, this.namespace)) && existsSync(`${INTERFACES}/${this.#link}`)
  }

  get hasTraces(): boolean {
    return existsSync(join(NAMESPACES, this.namespace)) || existsSync(`${INTERFACES}/${this.#link}`)
  }

  /** Whether anything of it may be on this host. */
  async isClaimed(): Promise<boolean> {
    if (this.#range !== null || this.hasTraces) return true
    const [, boot] = (await readFile(this.#rangeFile(), 'utf8').catch(() => '')).split('\n')
    return boot === bootId()
  }

  get resolverFile(): string {
    return join(this.#options.directory, 'resolv.conf')
  }

  /** The range that is in use, or will be. */
  range(): Promise<AddressRange> {
    this.#range ??= this.#settle().catch((error: unknown) => {
      this.#range = null
      throw error
    })
    return this.#range
  }

  async plan(): Promise<NetworkPlan> {
    const range = await this.range()
    const [host, router] = [addressAt(range, 1), addressAt(range, 2)]
    return { hostInterface: this.#link, hostTable: this.#table, range: formatRange(range), host, router }
  }

  /** Makes it, or takes up what an earlier server left, and sets all rules anew. */
  async ensure(rules: Omit<RouterRules, 'resolvers'>): Promise<void> {
    if (!this.exists) await this.#make()
    await this.refresh()
    const { linkLocal } = await this.#resolvers()
    const ruleset = routerRuleset(await this.plan(), { ...rules, resolvers: linkLocal })
    await this.rule(this.namespace, ruleset)
  }

  /** What depends on the host as it is now: its routes, its resolvers, other people's rules. */
  async refresh(): Promise<void> {
    const { tools, hostPorts, openPorts } = this.#options
    const plan = await this.plan()
    const resolvers = await this.#resolvers()
    await rewriteMounted(this.resolverFile, resolvers.text)
    const uplinks = uplinksOf(await runTool(tools.ip, ['-4', 'route', 'show']))
    this.#guarded = allowForwarding(this.#link, uplinks)
    const rules = { ports: hostPorts, open: openPorts, resolver: resolvers.forwardTo, uplinks, guarded: this.#guarded }
    await runTool(tools.nft, ['-f', '-'], hostRuleset(plan, rules))
    await this.#foreign.admit(hostPorts.length + openPorts.length > 0 || resolvers.forwardTo !== null)
  }

  /** Rules in a namespace of ours. */
  async rule(namespace: string, ruleset: string): Promise<void> {
    const { nsenter, nft } = this.#options.tools
    await runTool(nsenter, [`--net=${join(NAMESPACES, namespace)}`, '--', nft, '-f', '-'], ruleset)
  }

  /** Nothing of it is left on the host afterwards, and its range is anybody's. */
  async remove(): Promise<void> {
    const range = await this.range()
    await this.#dismantle()
    await unclaim(this.#options.tools, range)
    await unregister(this.#options.engine)
    this.#range = null
  }

  async #dismantle(): Promise<void> {
    const { ip, nft } = this.#options.tools
    await runTool(nft, ['delete', 'table', 'ip', this.#table]).catch(() => {})
    await this.#foreign.withdraw()
    await runTool(ip, ['link', 'delete', this.#link]).catch(() => {})
    await runTool(ip, ['netns', 'delete', this.namespace]).catch(() => {})
    const others = readdirSync(INTERFACES).some((name) => /^sl[0-9a-f]{12}$/.test(name))
    if (!others) endForwarding(this.#guarded)
  }

  async #make(): Promise<void> {
    const { ip, nsenter } = this.#options.tools
    if (this.hasTraces) await this.#dismantle()
    const { hostInterface: link, host, router, range } = await this.plan()
    const peer = `peer name ${UPLINK} mtu ${this.mtu} netns ${this.namespace}`
    await runTool(ip, ['-batch', '-'], `netns add ${this.namespace}\nlink add ${link} mtu ${this.mtu} type veth ${peer}\n`)
    prepareLink(link)
    const inside = `link set lo up\naddr add ${router} peer ${host} dev ${UPLINK}\nlink set ${UPLINK} up\nroute add default via ${host}\nroute add unreachable ${range}\n`
    await runTool(nsenter, [`--net=${join(NAMESPACES, this.namespace)}`, '--', '/bin/sh', '-c', ROUTER_SCRIPT, 'shiplock', ip], inside)
    const outside = `addr add ${host} peer ${router} dev ${link}\nlink set ${link} up\nroute add ${range} via ${router} dev ${link}\n`
    await runTool(ip, ['-batch', '-'], outside)
  }

  /** The one that was settled on before, where it is still ours to take; otherwise a new one. */
  async #settle(): Promise<AddressRange> {
    const [text = '', boot] = (await readFile(this.#rangeFile(), 'utf8').catch(() => '')).trim().split('\n')
    const kept = parseRange(text)
    if (kept === null) return this.#draw()
    if (this.exists) return kept
    const { range: named } = this.#options
    if (named !== null && formatRange(named) !== formatRange(kept)) return this.#draw()
    // Claimed in this boot: the route that is in the way is our own.
    const taken = boot === bootId() ? (await this.#taken()).filter((other) => formatRange(other) !== text) : await this.#taken()
    if (taken.some((other) => overlaps(kept, other))) return this.#draw()
    return (await this.#claim(kept)) ? kept : this.#draw()
  }

  async #draw(): Promise<AddressRange> {
    const { range: named, engine } = this.#options
    const taken = await this.#taken()
    for (const candidate of named === null ? drawnRanges(Number.parseInt(engine.slice(0, 8), 16)) : [named]) {
      if (!taken.some((other) => overlaps(candidate, other)) && (await this.#claim(candidate))) return candidate
    }
    const problem =
      named === null ? 'no range of addresses is free for instances' : `the range ${formatRange(named)} is in use on this host`
    throw new ShiplockError('RUNTIME_UNAVAILABLE', problem, {
      hint: 'Name a free one in SHIPLOCK_INSTANCE_NETWORK, e.g. 10.99.0.0/20; `ip route show table all` lists what is taken.',
    })
  }

  /**
   * By a route that leads nowhere, under the one to the router: of two servers that want the same range the kernel lets one have it, and a
   * request to an instance whose network is gone never leaves this host, for a stranger who has that address elsewhere.
   */
  async #claim(range: AddressRange): Promise<boolean> {
    const { directory, engine, tools } = this.#options
    const route = ['unreachable', formatRange(range), 'metric', NOWHERE_METRIC]
    await mkdir(directory, { recursive: true, mode: 0o711 })
    const isOwn = (await readFile(this.#rangeFile(), 'utf8').catch(() => '')) === `${formatRange(range)}\n${bootId()}\n`
    try {
      await runTool(tools.ip, ['route', isOwn ? 'replace' : 'add', ...route])
    } catch {
      return false
    }
    await writeFileAtomic(this.#rangeFile(), `${formatRange(range)}\n${bootId()}\n`)
    await register({ engine, directory, range })
    return true
  }

  async #taken(): Promise<readonly AddressRange[]> {
    return routedRanges(await runTool(this.#options.tools.ip, ['-4', 'route', 'show', 'table', 'all']))
  }

  async #resolvers() {
    const own = await readFile('/etc/resolv.conf', 'utf8').catch(() => '')
    const resolved = await readFile(RESOLVED_FILE, 'utf8').catch(() => null)
    const local = new Set(Object.values(networkInterfaces()).flatMap((entries) => entries?.map(({ address }) => address) ?? []))
    return planResolvers(own, resolved, { host: (await this.plan()).host, isLocal: (address) => local.has(address) })
  }

  #rangeFile(): string {
    return join(this.#options.directory, 'range')
  }
}

/** Gives a range back; one that is not claimed is success. */
export async function unclaim({ ip }: NetworkTools, range: AddressRange): Promise<void> {
  await runTool(ip, ['route', 'delete', 'unreachable', formatRange(range), 'metric', NOWHERE_METRIC]).catch(() => {})
}

/** Of the interface that leads out, so that nothing must be cut on its way. */
function uplinkMtu(): number {
  try {
    const route = readFileSync('/proc/net/route', 'latin1')
      .split('\n')
      .find((line) => line.split('\t')[1] === '00000000')
    const mtu = Number(readFileSync(`/sys/class/net/${route?.split('\t')[0]}/mtu`, 'latin1'))
    return mtu >= 576 && mtu <= 9000 ? mtu : 1500
  } catch {
    return 1500
  }
}
