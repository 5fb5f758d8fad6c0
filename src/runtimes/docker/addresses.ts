import type { ProjectNetwork } from './networks.ts'

/**
 * A free address of a subnet, the next one after the last that was given out. Engines give the lowest free one: a new instance would get
 * the address of one that crashed a moment ago and, before its readiness check, the requests that the edge still sends there (I2).
 * null = none is free, or the engine must choose.
 */
export function nextAddress(network: ProjectNetwork, held: ReadonlySet<string>, last: string | null): string | null {
  const [base, bits] = (network.subnet ?? '').split('/')
  const first = toNumber(base ?? '')
  const size = 2 ** (32 - Number(bits))
  if (first === null || !(size >= 4)) return null
  const begin = last === null ? null : toNumber(last)
  const offset = begin === null || begin <= first || begin >= first + size - 1 ? 0 : begin - first
  // Without the first (the network) and the last (broadcast).
  for (let step = 1; step < Math.min(size, 70_000); step++) {
    const candidate = 1 + ((offset + step - 1) % (size - 2))
    const address = toText(first + candidate)
    if (address !== network.gateway && !held.has(address)) return address
  }
  return null
}

function toNumber(address: string): number | null {
  const parts = address.split('.').map(Number)
  if (parts.length !== 4 || parts.some((part) => !Number.isInteger(part) || part < 0 || part > 255)) return null
  return parts.reduce((sum, part) => sum * 256 + part, 0)
}

function toText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}
