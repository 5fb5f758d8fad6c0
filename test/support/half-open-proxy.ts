import { connect, createServer, type NetConnectOpts, type Socket } from 'node:net'

export interface HalfOpenProxy {
  readonly port: number
  /**
   * From now on nothing passes (or only requests do, and their replies are lost), and nobody is told: as when a machine loses power or a
   * route drops.
   */
  freeze(direction?: 'both' | 'replies'): void
  /** What was held passes, and everything after it. */
  thaw(): void
  /** Ends every connection with a reset; new ones are accepted again. */
  cut(): void
  /** Number of open client connections. */
  readonly connections: number
  close(): Promise<void>
}

/** TCP on loopback in front of a server, to take the network away (after pg-boss' idea of the same name). */
export async function halfOpenProxy(target: NetConnectOpts): Promise<HalfOpenProxy> {
  const pairs = new Set<readonly [Socket, Socket]>()
  let frozen: 'both' | 'replies' | 'none' = 'none'
  const server = createServer((client) => {
    const upstream = connect(target)
    const pair = [client, upstream] as const
    pairs.add(pair)
    for (const [from, to] of [pair, [upstream, client] as const]) {
      from.on('error', () => {})
      from.on('data', (chunk) => void to.write(chunk))
      from.on('close', () => {
        to.destroy()
        pairs.delete(pair)
      })
      if (frozen === 'both' || (frozen === 'replies' && from === upstream)) from.pause()
    }
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  const each = (act: (socket: Socket) => void) => {
    for (const [client, upstream] of [...pairs]) {
      act(client)
      act(upstream)
    }
  }
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    freeze: (direction = 'both') => {
      frozen = direction
      for (const [client, upstream] of pairs) {
        upstream.pause()
        if (direction === 'both') client.pause()
      }
    },
    thaw: () => {
      frozen = 'none'
      each((socket) => socket.resume())
    },
    cut: () => {
      for (const [client, upstream] of [...pairs]) {
        client.resetAndDestroy()
        upstream.destroy()
      }
    },
    get connections() {
      return pairs.size
    },
    close: () => {
      each((socket) => socket.destroy())
      return new Promise((resolve) => server.close(() => resolve()))
    },
  }
}
