import { BlockList, isIP } from 'node:net'

/** `10.0.0.1`, `10.0.0.0/8`, `::1`, `fd00::/8`. Null = not of that form. */
export function parseProxies(entries: readonly string[]): BlockList | null {
  const list = new BlockList()
  for (const entry of entries) {
    const [address = '', bits, ...rest] = entry.split('/')
    const family = isIP(address)
    const max = family === 4 ? 32 : 128
    if (family === 0 || rest.length > 0 || (bits !== undefined && !(/^\d{1,3}$/.test(bits) && Number(bits) <= max))) return null
    list.addSubnet(address, bits === undefined ? max : Number(bits), family === 4 ? 'ipv4' : 'ipv6')
  }
  return list
}

const HOPS_MAX = 20

/**
 * Whose request it is: the peer of the socket; behind trusted proxies the last address of `X-Forwarded-For` that none of them added. What
 * an untrusted peer says about itself is not believed.
 */
export function clientAddress(peer: string | undefined, forwardedFor: string | undefined, proxies: BlockList): string | null {
  let address = plainAddress(peer ?? '')
  if (address === null) return null
  const hops = (forwardedFor ?? '').split(',').slice(-HOPS_MAX)
  while (isTrusted(address, proxies)) {
    const before = plainAddress(hops.pop()?.trim() ?? '')
    if (before === null) break
    address = before
  }
  return address
}

function isTrusted(address: string, proxies: BlockList): boolean {
  return proxies.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
}

/** IPv4 as IPv4, whatever the socket; null = no address. */
export function plainAddress(text: string): string | null {
  const address = text.replace(/^::ffff:(?=\d+\.)/i, '')
  return isIP(address) === 0 ? null : address
}

/** What counts as one holder of a limit: an IPv4 address, or the /64 of an IPv6 one, which one customer has to himself. */
export function holderOf(address: string | null): string {
  if (address === null || isIP(address) !== 6) return address ?? 'unknown'
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const middle = tail === undefined ? [] : Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0')
  return `${[...left, ...middle, ...right]
    .slice(0, 4)
    .map((group) => group.toLowerCase().replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
