import { rm } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { LIMITS } from '../../core/limits.ts'
import { type RpcHandler, RpcPeer } from './rpc.ts'

/** The private unix socket. Its directory is 0700 and it is made under a umask that leaves only the owner in. */
export class ControlServer {
  readonly #path: string
  readonly #handler: RpcHandler
  readonly #peers = new Set<RpcPeer>()
  #server: Server | null = null

  constructor(path: string, handler: RpcHandler) {
    this.#path = path
    this.#handler = handler
  }

  /** Only the holder of the lock calls this, so a socket file that is there is a dead one's. */
  async listen(): Promise<void> {
    await rm(this.#path, { force: true })
    const server = createServer((socket) => this.#welcome(socket))
    server.maxConnections = LIMITS.edgeControlConnections + LIMITS.edgeWorkers * 2
    const before = process.umask(0o177)
    try {
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject)
        server.listen({ path: this.#path }, resolve)
      })
    } finally {
      process.umask(before)
    }
    this.#server = server
  }

  #welcome(socket: Socket): void {
    const peer = new RpcPeer(socket, this.#handler)
    this.#peers.add(peer)
    peer.onClose(() => this.#peers.delete(peer))
  }

  /** Takes no new peers; those that are connected stay. The path is free for a successor. */
  async close(): Promise<void> {
    this.#server?.close()
    this.#server = null
    await rm(this.#path, { force: true })
  }

  /** Disconnects everybody but `except`. */
  disconnect(except: RpcPeer | null): void {
    for (const peer of this.#peers) if (peer !== except) peer.destroy()
  }
}
