import { lookup as resolveName } from 'node:dns'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { ShiplockError } from './errors.ts'
import { isCallable, plainAddress, type Reach } from './outgoing.ts'

/** What of the network members may have called as a git host or an image registry; the server's owner decides. */
export interface HostRules {
  readonly reach: Reach
  /** Called whatever `reach` says: names, `*.names`, addresses, networks in CIDR notation. Lower case. */
  readonly allowed: readonly string[]
}

/** Looks a host up once and says where the connection may go. What it answers is what has to be connected to, not the name again. */
export interface HostGuard {
  /** Throws SOURCE_REFUSED, SOURCE_UNREACHABLE, or what the signal was aborted with. */
  resolve(hostname: string, signal: AbortSignal): Promise<readonly string[]>
  /** The same for clients that look up by themselves; literal addresses never come here, so ask `resolve` too. */
  readonly lookup: LookupFunction
}

type Resolver = (hostname: string) => Promise<readonly string[]>

export function createHostGuard(rules: HostRules, resolver: Resolver = systemResolver): HostGuard {
  const isAllowed = allowanceOf(rules.allowed)
  const find = async (hostname: string): Promise<readonly string[]> => {
    const name = bareName(hostname)
    const found = isIP(name) === 0 ? await resolver(name).catch(() => []) : [name]
    if (found.length === 0) throw new ShiplockError('SOURCE_UNREACHABLE', `the host name ${name} can’t be resolved`)
    const callable = found.filter((address) => isAllowed(name, address) || isCallable(address, rules.reach))
    if (callable.length === 0) throw refused(name)
    return callable
  }
  return {
    resolve: (hostname, signal) => untilAborted(find(hostname), signal),
    lookup: (hostname, options, callback) => {
      find(hostname).then(
        (addresses) => {
          const all = addresses.map((address) => ({ address, family: isIP(address) }))
          const [first] = all
          if (options.all === true) callback(null, all)
          else callback(null, first?.address ?? '', first?.family)
        },
        (error: NodeJS.ErrnoException) => callback(error, ''),
      )
    },
  }
}

/** `[::1]` → `::1`, `Host.` → `host`. */
function bareName(hostname: string): string {
  return hostname
    .replace(/^\[|\]$/g, '')
    .replace(/\.$/, '')
    .toLowerCase()
}

function allowanceOf(allowed: readonly string[]): (name: string, address: string) => boolean {
  const names = new Set<string>()
  const suffixes: string[] = []
  const networks = new BlockList()
  for (const entry of allowed) {
    const [address = '', prefix] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    if (isIP(address) !== 0) networks.addSubnet(address, Number(prefix ?? (family === 'ipv6' ? 128 : 32)), family)
    else if (entry.startsWith('*.')) suffixes.push(entry.slice(1))
    else names.add(entry)
  }
  return (name, address) => {
    const plain = plainAddress(address)
    const isInNetwork = isIP(plain) !== 0 && networks.check(plain, isIP(plain) === 6 ? 'ipv6' : 'ipv4')
    return isInNetwork || names.has(name) || suffixes.some((suffix) => name.endsWith(suffix))
  }
}

function refused(name: string): ShiplockError {
  return new ShiplockError('SOURCE_REFUSED', `${name} leads to an address that this server does not call`, {
    hint: 'This machine itself and link-local addresses are never called by default, private networks as SHIPLOCK_SOURCE_REACH says. The server’s owner may allow a host by name: SHIPLOCK_SOURCE_HOSTS.',
    details: { host: name },
  })
}

function systemResolver(hostname: string): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    resolveName(hostname, { all: true, verbatim: true }, (error, addresses) => {
      if (error === null) resolve(addresses.map(({ address }) => address))
      else reject(error)
    })
  })
}

/** A resolver that hangs holds nobody longer than the signal lets it. */
function untilAborted<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}
