/** A block of IPv4 addresses: `first` as a number, `bits` of prefix. */
export interface AddressRange {
  readonly first: number
  readonly bits: number
}

/** Of the ranges that are drawn: room for 4000 instances. */
export const DRAWN_BITS = 20
/** Ranges are drawn from 10.64.0.0/10: private, and away from what Docker (172.16/12), home routers (192.168/16) and carriers (100.64/10) take. */
const DRAWN_FROM = 10 * 2 ** 24 + 64 * 2 ** 16
const DRAWN_COUNT = 2 ** (DRAWN_BITS - 10)
/** Kept for the host's and the router's end, and what may come. */
const FIRST_MEMBER = 16

/** `10.99.0.0/20`; null for anything but a network of 16 to 27 bits. */
export function parseRange(text: string): AddressRange | null {
  const [, address = '', digits = ''] = /^([\d.]+)\/(\d{1,2})$/.exec(text.trim()) ?? []
  const first = addressNumber(address)
  const bits = Number(digits)
  return first === null || bits < 16 || bits > 27 || first % sizeOf({ bits }) !== 0 ? null : { first, bits }
}

export function formatRange({ first, bits }: AddressRange): string {
  return `${addressText(first)}/${bits}`
}

export function overlaps(one: AddressRange, other: AddressRange): boolean {
  return one.first < other.first + sizeOf(other) && other.first < one.first + sizeOf(one)
}

/** The nth address of a range. */
export function addressAt({ first }: AddressRange, offset: number): string {
  return addressText(first + offset)
}

export function offsetIn(range: AddressRange, address: string): number | null {
  const offset = (addressNumber(address) ?? -1) - range.first
  return offset >= 0 && offset < sizeOf(range) ? offset : null
}

/** Ranges to try, every one once, beginning where `seed` says: servers on one host begin at different ones. */
export function* drawnRanges(seed: number): Generator<AddressRange> {
  for (let step = 0; step < DRAWN_COUNT; step++) {
    yield { first: DRAWN_FROM + ((seed + step) % DRAWN_COUNT) * 2 ** (32 - DRAWN_BITS), bits: DRAWN_BITS }
  }
}

/** Destinations of `ip -4 route show table all`; the default route is none, and broken lines are passed over. */
export function routedRanges(routes: string): readonly AddressRange[] {
  return routes.split('\n').flatMap((line) => {
    const [, address = '', digits = '32'] =
      /^(?:(?:local|broadcast|unicast|blackhole|unreachable|prohibit) )?(\d+\.\d+\.\d+\.\d+)(?:\/(\d+))?(?: |$)/.exec(line) ?? []
    const first = addressNumber(address)
    return first === null || digits === '0' ? [] : [{ first, bits: Number(digits) }]
  })
}

/**
 * The next free place after the one that was given last: the lowest free one would be that of an instance that crashed a moment ago, and
 * with it the requests that are still on their way there (I2). null = all are held.
 */
export function nextOffset(range: AddressRange, held: ReadonlySet<number>, last: number): number | null {
  const count = sizeOf(range) - FIRST_MEMBER - 1
  for (let step = 1; step <= count; step++) {
    const offset = FIRST_MEMBER + ((Math.max(last, FIRST_MEMBER - 1) - FIRST_MEMBER + step) % count)
    if (!held.has(offset)) return offset
  }
  return null
}

export function addressNumber(address: string): number | null {
  const parts = address.split('.')
  if (parts.length !== 4 || parts.some((part) => !/^\d{1,3}$/.test(part) || Number(part) > 255)) return null
  return parts.reduce((sum, part) => sum * 256 + Number(part), 0)
}

function addressText(value: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(value / 2 ** shift) % 256).join('.')
}

function sizeOf({ bits }: Pick<AddressRange, 'bits'>): number {
  return 2 ** (32 - bits)
}
