import { readFileSync } from 'node:fs'
import { BlockList } from 'node:net'

/**
 * Interfaces behind which only things of this host are: instances of a server here, containers and virtual machines of an engine here.
 * They let in what comes from the host, so the server must not be sent there by people who may not go there themselves.
 */
const INNER = /^(?:sl[0-9a-f]{12}|docker\d+|br-[0-9a-f]{12}|podman\d+|cni[\w-]{0,11}|virbr\d+|lxcbr\d+|lxdbr\d+)$/

/** The networks that the kernel leads to such an interface. `table`: as /proc/net/route has it; addresses in the bytes' own order. */
export function innerNetworks(table: string): BlockList {
  const inner = new BlockList()
  for (const line of table.split('\n').slice(1, ROUTES_MAX)) {
    const [name = '', destination = '', , , , , , mask = ''] = line.split('\t').map((field) => field.trim())
    const bits = prefixOf(mask)
    if (INNER.test(name) && bits !== null && bits > 0 && HEX.test(destination)) inner.addSubnet(addressOf(destination), bits)
  }
  return inner
}
const ROUTES_MAX = 10_000
const HEX = /^[0-9A-F]{8}$/i

/** As of now: networks come and go with what is deployed. Where the kernel tells nothing, none is known. */
export function isInner(address: string): boolean {
  try {
    return innerNetworks(readFileSync('/proc/net/route', 'latin1')).check(address, 'ipv4')
  } catch {
    return false
  }
}

function addressOf(hex: string): string {
  return [6, 4, 2, 0].map((at) => Number.parseInt(hex.slice(at, at + 2), 16)).join('.')
}

function prefixOf(mask: string): number | null {
  if (!HEX.test(mask)) return null
  return [...Number.parseInt(mask, 16).toString(2)].filter((bit) => bit === '1').length
}
