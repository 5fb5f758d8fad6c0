import { lookup as resolveName } from 'node:dns'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { BlockList, isIP, type LookupFunction } from 'node:net'
import { ShiplockError } from './errors.ts'
import { LIMITS } from './limits.ts'
import { isInner } from './own-networks.ts'

/**
 * What may be called at addresses that people enter (webhooks, chat, APIs of git hosts): `public` only the internet, `private` also the
 * networks that this host is part of, but neither its loopback, what runs inside of it, nor what clouds hide at link-local addresses, `any` everything.
 */
export const REACHES = ['public', 'private', 'any'] as const
export type Reach = (typeof REACHES)[number]

/** This host, link-local and with it the metadata of clouds, multicast, and what is no address at all. RFC 6890; 168.63.129.16 is Azure's. */
const NEVER = blockList(
  ['0.0.0.0/8', '127.0.0.0/8', '169.254.0.0/16', '168.63.129.16/32', '100.100.100.200/32', '192.0.0.0/24', '224.0.0.0/4', '240.0.0.0/4'],
  ['::/127', 'fe80::/10', 'fd00:ec2::/32', 'ff00::/8'],
)
/** RFC 1918, RFC 6598, RFC 4193 and what only tests and benchmarks use. */
const PRIVATE = blockList(['10.0.0.0/8', '100.64.0.0/10', '172.16.0.0/12', '192.168.0.0/16', '198.18.0.0/15'], ['fc00::/7', 'fec0::/10'])

/** `inner`: whether only things of this host are behind an IPv4 address, such as instances of other projects. */
export function isCallable(address: string, reach: Reach, inner: (address: string) => boolean = isInner): boolean {
  if (reach === 'any') return true
  const plain = plainAddress(address)
  const family = isIP(plain) === 6 ? 'ipv6' : 'ipv4'
  if (NEVER.check(plain, family) || (family === 'ipv4' && inner(plain))) return false
  return reach === 'private' || !PRIVATE.check(plain, family)
}

export interface OutgoingRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly reach: Reach
  /** Certificates (PEM) to believe in place of those of the system. */
  readonly authorities?: string
  readonly signal?: AbortSignal
}

export interface OutgoingAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Its beginning. */
  readonly text: string
}

/**
 * Posts to an address that somebody entered. The check is made on the address that the connection then goes to, so that a name can't mean
 * one thing when it is looked at and another when it is called; redirects are not followed. Throws ADDRESS_REFUSED, or the network's error.
 */
export function post({ url, headers, body, reach, authorities, signal }: OutgoingRequest): Promise<OutgoingAnswer> {
  const target = checkUrl(url, reach)
  const send = target.protocol === 'https:' ? httpsRequest : httpRequest
  const late = AbortSignal.timeout(LIMITS.outgoingMs)
  return new Promise((resolve, reject) => {
    const outgoing = send(
      target,
      {
        method: 'POST',
        headers: { 'user-agent': 'Shiplock', 'content-length': String(Buffer.byteLength(body)), ...headers },
        lookup: checkedLookup(reach),
        agent: false,
        ...(authorities === undefined ? {} : { ca: authorities }),
        signal: signal === undefined ? late : AbortSignal.any([late, signal]),
      },
      (response) => {
        const chunks: Buffer[] = []
        let size = 0
        const finish = () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: Buffer.concat(chunks).toString('utf8').slice(0, LIMITS.outgoingAnswerBytes),
          })
        response.on('data', (chunk: Buffer) => {
          size += chunk.length
          chunks.push(chunk)
          if (size < LIMITS.outgoingAnswerBytes) return
          finish()
          response.destroy()
        })
        response.on('end', finish)
        response.on('error', reject)
      },
    )
    outgoing.on('error', (error) => reject(late.aborted ? new Error(`no answer within ${LIMITS.outgoingMs / 1000} s`) : error))
    outgoing.end(body)
  })
}

/** What can be said of an address without the network. Throws ADDRESS_REFUSED. */
export function checkUrl(text: string, reach: Reach): URL {
  const url = URL.canParse(text) ? new URL(text) : null
  if (url === null || (url.protocol !== 'http:' && url.protocol !== 'https:')) throw refused('it is not an http or https URL')
  if (url.username !== '' || url.password !== '') throw refused('it holds a user name or password')
  const host = url.hostname.replace(/^\[|\]$/g, '')
  if (isIP(host) !== 0 && !isCallable(host, reach)) throw refused(`${host} is an address that this server does not call`)
  if (reach !== 'any' && /(?:^|\.)localhost\.?$/i.test(host)) throw refused(`${host} is this machine`)
  return url
}

function checkedLookup(reach: Reach): LookupFunction {
  return (hostname, options, callback) => {
    resolveName(hostname, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return callback(error, '')
      const callable = addresses.filter(({ address }) => isCallable(address, reach))
      const [first] = callable
      if (first === undefined) return callback(refused(`${hostname} leads to an address that this server does not call`), '')
      if (options.all === true) return callback(null, callable)
      callback(null, first.address, first.family)
    })
  }
}

function refused(reason: string): ShiplockError {
  return new ShiplockError('ADDRESS_REFUSED', `the address is refused: ${reason}`)
}

/**
 * An address as the connection is made to it. `::ffff:127.0.0.1` is 127.0.0.1, and so are its other spellings: IPv4-compatible (RFC 4291),
 * translated (RFC 2765, RFC 6052, RFC 8215) and 6to4 (RFC 3056) addresses all lead to an IPv4 address that stands in them.
 */
export function plainAddress(address: string): string {
  if (isIP(address) !== 6) return address
  const { hostname } = new URL(`http://[${address.replace(/%.*$/, '')}]`)
  const plain = hostname.slice(1, -1)
  const words = wordsOf(plain)
  const [first, second] = words
  const head = words.slice(0, 6).join(':')
  const isLast =
    ['0:0:0:0:0:ffff', '0:0:0:0:ffff:0', '64:ff9b:0:0:0:0'].includes(head) || (first === '64' && words[1] === 'ff9b' && words[2] === '1')
  const isCompatible = head === '0:0:0:0:0:0' && words[6] !== '0'
  if (isLast || isCompatible) return ipv4(words[6], words[7])
  return first === '2002' ? ipv4(second, words[2]) : plain
}

/** Of an address as URLs write it: eight words without leading zeros. */
function wordsOf(address: string): readonly string[] {
  const [before = '', after] = address.split('::')
  const [start, end] = [before, after ?? ''].map((part) => part.split(':').filter((word) => word !== '')) as [string[], string[]]
  const gap = after === undefined ? [] : Array.from({ length: 8 - start.length - end.length }, () => '0')
  return [...start, ...gap, ...end]
}

function ipv4(high = '0', low = '0'): string {
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)]
  return [a >> 8, a & 255, b >> 8, b & 255].join('.')
}

function blockList(ipv4: readonly string[], ipv6: readonly string[]): BlockList {
  const list = new BlockList()
  const add = (networks: readonly string[], family: 'ipv4' | 'ipv6') => {
    for (const network of networks) {
      const [address = '', prefix = '0'] = network.split('/')
      list.addSubnet(address, Number(prefix), family)
    }
  }
  add(ipv4, 'ipv4')
  add(ipv6, 'ipv6')
  return list
}
