import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { crashPoint } from '../../core/crash-points.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { NetworkMember, SandboxNetwork, SandboxNetworks } from '../sandbox.ts'
import { droppingChains, ForeignFirewall } from './foreign-firewall.ts'
import { registered, unregister } from './host-register.ts'
import { hostsText, rewriteMounted } from './hosts-file.ts'
import { type BookedMember, MemberBook } from './member-book.ts'
import { NAMESPACES, type NetworkTools, runTool } from './network-tools.ts'
import { type Router, unclaim } from './router.ts'
import { admitGroup, memberRuleset } from './rulesets.ts'

export interface HostNetworksParts {
  readonly engine: string
  readonly directory: string
  readonly tools: NetworkTools
  readonly router: Router
  /** Project → ports of the host's loopback that its owner named; `*` = every project. */
  readonly hostAccess: ReadonlyMap<string, readonly number[]>
  /** False = nothing new gets one; what has one keeps it. */
  readonly isOn: boolean
  readonly summary: string
  readonly logger: Logger
}

/** IP NFT BATCH: stdin is a ruleset. Forwarding is the router's alone; low ports are nobody else's here. */
const MEMBER_SCRIPT = `
printf '%s' "$3" | "$1" -batch - || exit 1
{ echo 1 >/proc/sys/net/ipv6/conf/eth0/disable_ipv6; } 2>/dev/null
{ echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start; } 2>/dev/null
echo 0 >/proc/sys/net/ipv4/ip_forward && echo 1 >/proc/sys/net/ipv4/conf/eth0/route_localnet && exec "$2" -f -
`.trim()

/**
 * A network namespace per member on this host, each with a link of its own to the router: no two members share a wire, so nobody can take
 * another's address. All of it outlives the server, and is found again by its names.
 */
export class HostNetworks implements SandboxNetworks {
  readonly isOn: boolean
  readonly summary: string
  readonly #parts: HostNetworksParts
  readonly #book: MemberBook
  #admitted = new Set<number>()
  #ready: Promise<void> | null = null
  #isReady = false
  #naming: Promise<unknown> = Promise.resolve()
  #timer: NodeJS.Timeout | null = null

  constructor(parts: HostNetworksParts) {
    this.#parts = parts
    this.#book = new MemberBook(parts.directory)
    this.isOn = parts.isOn
    this.summary = parts.summary
  }

  async obstacles(): Promise<readonly string[]> {
    if (!this.isOn) return []
    const { engine, tools } = this.#parts
    const chains = await droppingChains(tools)
    return chains.map((chain) => `the chain ${chain} of nftables drops what is forwarded: let it accept iifname "sl${engine}"`)
  }

  async open(isWanted: (name: string) => boolean): Promise<void> {
    await this.#book.load()
    const known = new Set([...this.names(), ...this.#book.members.map((member) => member.name)])
    for (const name of known) if (!isWanted(name)) await this.release(name)
    const { router } = this.#parts
    // A setting may have changed: what is refused now must be refused to what runs already.
    if (this.names().length > 0) await this.#ensure()
    // Those whose networks went with a reboot are still on their routes: nobody else may get what is sent to them.
    else if (this.#book.members.length > 0) await router.range()
    else if (router.hasTraces) await router.remove()
  }

  async close(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    await this.#ready?.catch(() => {})
    this.#ready = null
    await this.#book.load()
    if (this.#book.members.length === 0) await this.end()
  }

  async end(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
    this.#ready = null
    if (this.names().length === 0 && (await this.#parts.router.isClaimed())) await this.#parts.router.remove()
  }

  async reserve(name: string, member: NetworkMember): Promise<string> {
    await this.#book.load()
    return (await this.#book.reserve(name, member, await this.#parts.router.range())).address
  }

  async join(name: string): Promise<SandboxNetwork> {
    const { router, tools } = this.#parts
    await this.#ensure()
    const member = this.#booked(name)
    const namespace = this.#namespaceOf(name)
    if (existsSync(join(NAMESPACES, namespace))) await runTool(tools.ip, ['netns', 'delete', namespace])
    const link = `m${randomBytes(5).toString('hex')}`
    const mtu = `mtu ${router.mtu}`
    await runTool(
      tools.ip,
      ['-batch', '-'],
      `netns add ${namespace}\nlink add ${link} ${mtu} netns ${router.namespace} group ${member.group} type veth peer name eth0 ${mtu} netns ${namespace}\n`,
    )
    crashPoint('network.made')
    await Promise.all([this.#attach(member, link), this.#furnish(member, namespace), this.#admit(member), this.#nameMembers(member)])
    return this.#networkOf(member)
  }

  async present(name: string): Promise<SandboxNetwork | null> {
    await this.#book.load()
    const member = this.#book.get(name)
    return member !== null && existsSync(join(NAMESPACES, this.#namespaceOf(name))) ? this.#networkOf(member) : null
  }

  async leave(name: string): Promise<void> {
    const namespace = this.#namespaceOf(name)
    if (!existsSync(join(NAMESPACES, namespace))) return
    await runTool(this.#parts.tools.ip, ['netns', 'delete', namespace]).catch((error: unknown) => {
      if (existsSync(join(NAMESPACES, namespace))) throw error
    })
    await this.#book.load()
    const member = this.#book.get(name)
    if (member !== null && member.alias !== null) await this.#nameMembers(member)
  }

  async release(name: string): Promise<void> {
    await this.leave(name)
    await this.#book.release(name)
  }

  names(): readonly string[] {
    const prefix = this.#namespaceOf('')
    return namespaces().flatMap((name) => (name.startsWith(prefix) ? [name.slice(prefix.length)] : []))
  }

  /** Once per server; tried again where it failed. */
  #ensure(): Promise<void> {
    const { router, logger } = this.#parts
    // Somebody may have removed it meanwhile.
    if (this.#isReady && !router.exists) this.#ready = null
    this.#ready ??= (async () => {
      this.#isReady = false
      await this.#book.load()
      await removeForsaken(this.#parts)
      const groups = [...new Set(this.#book.members.map((member) => member.group))]
      const hostPorts = this.#book.members.flatMap((member) => this.#hostPorts(member).map((port) => ({ group: member.group, port })))
      await router.ensure({ groups, hostPorts: unique(hostPorts) })
      this.#admitted = new Set(groups)
      this.#isReady = true
      this.#timer ??= setInterval(() => {
        router.refresh().catch((error: unknown) => logger.warn('the rules of the instances’ networks could not be renewed', { error }))
      }, LIMITS.networkRefreshMs).unref()
    })().catch((error: unknown) => {
      this.#ready = null
      throw error
    })
    return this.#ready
  }

  /** The router's end. */
  async #attach({ address }: BookedMember, link: string): Promise<void> {
    const { router, tools } = this.#parts
    const { router: gateway } = await router.plan()
    const batch = `addr add ${gateway}/32 dev ${link}\nlink set ${link} up\nroute replace ${address}/32 dev ${link}\n`
    await runTool(tools.ip, ['-netns', router.namespace, '-batch', '-'], batch)
  }

  /** The member's end. */
  async #furnish(member: BookedMember, namespace: string): Promise<void> {
    const { router, tools } = this.#parts
    const plan = await router.plan()
    const gateway = plan.router
    const batch = `link set lo up\naddr add ${member.address}/32 dev eth0\nlink set eth0 up\nroute add ${gateway} dev eth0\nroute add default via ${gateway}\n`
    const enter = [`--net=${join(NAMESPACES, namespace)}`, '--', '/bin/sh', '-c', MEMBER_SCRIPT, 'shiplock', tools.ip, tools.nft, batch]
    await runTool(tools.nsenter, enter, memberRuleset(plan, member.port, this.#hostPorts(member)))
  }

  async #admit(member: BookedMember): Promise<void> {
    if (this.#admitted.has(member.group)) return
    await this.#parts.router.rule(this.#parts.router.namespace, admitGroup(member.group, this.#hostPorts(member)))
    this.#admitted.add(member.group)
  }

  /** Writes who is in the environment into the file that its members have as /etc/hosts. */
  #nameMembers({ group, environment }: BookedMember): Promise<void> {
    const turn = this.#naming.then(async () => {
      const living = new Set(this.names())
      const named = this.#book.members.flatMap(({ name, alias, address, ...other }) =>
        alias !== null && other.environment === environment && living.has(name) ? [{ name: alias, address }] : [],
      )
      const ofHost = await readFile('/etc/hosts', 'utf8').catch(() => '')
      await mkdir(join(this.#parts.directory, 'hosts'), { recursive: true, mode: 0o755 })
      await rewriteMounted(this.#hostsFile(group), hostsText((await this.#parts.router.plan()).host, hostname(), named, ofHost))
    })
    this.#naming = turn.catch(() => {})
    return turn
  }

  #networkOf({ address, name, group }: BookedMember): SandboxNetwork {
    const files = [
      { source: this.#hostsFile(group), target: '/etc/hosts' },
      { source: this.#parts.router.resolverFile, target: '/etc/resolv.conf' },
    ]
    return { address, namespace: join(NAMESPACES, this.#namespaceOf(name)), files }
  }

  #hostPorts({ project }: Pick<BookedMember, 'project'>): readonly number[] {
    const { hostAccess } = this.#parts
    return [...new Set([...(hostAccess.get('*') ?? []), ...(hostAccess.get(project) ?? [])])]
  }

  #booked(name: string): BookedMember {
    const member = this.#book.get(name)
    if (member === null) throw new ShiplockError('INTERNAL', `${name} has no address`)
    return member
  }

  #hostsFile(group: number): string {
    return join(this.#parts.directory, 'hosts', String(group))
  }

  #namespaceOf(name: string): string {
    return `shiplock-${this.#parts.engine}-${name}`
  }
}

/** Networks of servers whose directories are gone, as of one that was killed and thrown away. What ran in them went with its directory. */
async function removeForsaken({ tools, logger }: HostNetworksParts): Promise<void> {
  for (const { engine, directory, range } of await registered()) {
    if (existsSync(directory)) continue
    logger.info('removing the networks of a server whose directory is gone', { directory })
    for (const name of namespaces()) {
      if (name.startsWith(`shiplock-${engine}`)) await runTool(tools.ip, ['netns', 'delete', name]).catch(() => {})
    }
    await runTool(tools.ip, ['link', 'delete', `sl${engine}`]).catch(() => {})
    await runTool(tools.nft, ['delete', 'table', 'ip', `shiplock_${engine}`]).catch(() => {})
    await new ForeignFirewall(tools, `sl${engine}`).withdraw()
    await unclaim(tools, range)
    await unregister(engine)
  }
}

function namespaces(): readonly string[] {
  try {
    return readdirSync(NAMESPACES)
  } catch {
    return []
  }
}

function unique<Entry>(entries: readonly Entry[]): readonly Entry[] {
  return [...new Map(entries.map((entry) => [JSON.stringify(entry), entry])).values()]
}
