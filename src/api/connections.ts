import type { BlockList, Socket } from 'node:net'
import { isIP } from 'node:net'
import { LIMITS } from '../core/limits.ts'
import { holderOf, plainAddress } from './client-address.ts'

/** Over which a good token, or a delivery that was verified, has come. */
const known = new WeakSet<Socket>()

export function noteKnown(socket: Socket): void {
  known.add(socket)
}

/**
 * The connections of a listener. Those of strangers are bounded, in all and per address, but nobody is refused: the oldest of whoever has
 * the most goes. Whoever has a credential shows it with the first request, and is a stranger for as long as that takes.
 */
export class Connections {
  readonly #proxies: BlockList
  /** Oldest first, by address. What has become known stays in here until somebody counts. */
  readonly #strangers = new Map<string, Set<Socket>>()
  #count = 0

  constructor(proxies: BlockList) {
    this.#proxies = proxies
  }

  /** Of people who have shown nothing, as far as anybody has counted. */
  get strangers(): number {
    return this.#count
  }

  add(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? '')
    const holder = holderOf(address)
    const held = this.#strangers.get(holder) ?? new Set()
    this.#strangers.set(holder, held)
    held.add(socket)
    this.#count += 1
    socket.once('close', () => this.#remove(holder, socket))
    // A proxy has as many as there are people behind it.
    const isProxy = address !== null && this.#proxies.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6')
    if (!isProxy && held.size > LIMITS.strangersPerAddress && this.#countStrangers(holder) > LIMITS.strangersPerAddress) this.#end(holder)
    if (this.#count > LIMITS.strangers) this.#makeRoom()
  }

  #makeRoom(): void {
    for (const holder of [...this.#strangers.keys()]) this.#countStrangers(holder)
    if (this.#count <= LIMITS.strangers) return
    let greediest = ''
    let most = 0
    for (const [holder, { size }] of this.#strangers) {
      if (size <= most) continue
      greediest = holder
      most = size
    }
    this.#end(greediest)
  }

  #countStrangers(holder: string): number {
    for (const socket of [...(this.#strangers.get(holder) ?? [])]) if (known.has(socket)) this.#remove(holder, socket)
    return this.#strangers.get(holder)?.size ?? 0
  }

  #end(holder: string): void {
    const [oldest] = this.#strangers.get(holder) ?? []
    if (oldest === undefined) return
    this.#remove(holder, oldest)
    oldest.destroy()
  }

  #remove(holder: string, socket: Socket): void {
    const held = this.#strangers.get(holder)
    if (held?.delete(socket) !== true) return
    this.#count -= 1
    if (held.size === 0) this.#strangers.delete(holder)
  }
}
