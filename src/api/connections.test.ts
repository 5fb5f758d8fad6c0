import { EventEmitter } from 'node:events'
import { BlockList, type Socket } from 'node:net'
import { expect, test } from 'vitest'
import { LIMITS } from '../core/limits.ts'
import { parseProxies } from './client-address.ts'
import { Connections, noteKnown } from './connections.ts'

class FakeSocket extends EventEmitter {
  readonly remoteAddress: string
  destroyed = false

  constructor(remoteAddress: string) {
    super()
    this.remoteAddress = remoteAddress
  }

  destroy() {
    this.destroyed = true
    this.emit('close')
  }
}

function opened(connections: Connections, address: string, count: number): FakeSocket[] {
  return Array.from({ length: count }, () => {
    const socket = new FakeSocket(address)
    connections.add(socket as unknown as Socket)
    return socket
  })
}
const alive = (sockets: readonly FakeSocket[]) => sockets.filter((socket) => !socket.destroyed).length

test('I13: an address that opens more and more loses its own oldest; nobody else loses any', () => {
  const connections = new Connections(new BlockList())
  const others = opened(connections, '203.0.113.9', 5)
  const mine = opened(connections, '203.0.113.1', LIMITS.strangersPerAddress + 50)
  expect(alive(mine)).toBe(LIMITS.strangersPerAddress)
  expect(mine[0]?.destroyed).toBe(true)
  expect(mine.at(-1)?.destroyed).toBe(false)
  expect(alive(others)).toBe(5)
})

test('I13: what has shown a credential is never ended for strangers at its address', () => {
  const connections = new Connections(new BlockList())
  const good = opened(connections, '127.0.0.1', 3)
  for (const socket of good) noteKnown(socket as unknown as Socket)
  opened(connections, '127.0.0.1', LIMITS.strangersPerAddress * 3)
  expect(alive(good)).toBe(3)
})

test('I13: with too many in all, the address with the most gives up its oldest', () => {
  const connections = new Connections(parseProxies(['10.0.0.1']) ?? new BlockList())
  const proxied = opened(connections, '10.0.0.1', LIMITS.strangers - 10)
  expect(alive(proxied)).toBe(LIMITS.strangers - 10)
  const others = opened(connections, '203.0.113.2', 20)
  expect(alive(others)).toBe(20)
  expect(alive(proxied)).toBe(LIMITS.strangers - 20)
  expect(connections.strangers).toBe(LIMITS.strangers)
})

test('the /64 of an IPv6 address counts as one, and closed ones count no longer', () => {
  const connections = new Connections(new BlockList())
  const some = Array.from({ length: LIMITS.strangersPerAddress + 1 }, (_, n) =>
    opened(connections, `2001:db8::${n.toString(16)}`, 1),
  ).flat()
  expect(alive(some)).toBe(LIMITS.strangersPerAddress)
  for (const socket of some) if (!socket.destroyed) socket.destroy()
  expect(connections.strangers).toBe(0)
})
