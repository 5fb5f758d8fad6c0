import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { eventually } from './eventually.ts'

/** An instance that does exactly what the test says with each connection, byte by byte. */
export interface RawApp {
  readonly port: number
  readonly connections: RawConnection[]
  /** Everything that was received, all connections together. */
  received(): string
  close(): Promise<void>
}

export class RawConnection {
  readonly socket: Socket
  text = ''
  isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.text += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  /** Waits until what was received matches. */
  async until(pattern: RegExp | string): Promise<string> {
    return await eventually(() => (typeof pattern === 'string' ? this.text.includes(pattern) : pattern.test(this.text)) && this.text)
  }

  async untilClosed(): Promise<void> {
    await eventually(() => this.isClosed)
  }
}

/** `answer` is called for each request head that arrives; what it returns is written as it is. */
export async function startRawApp(
  answer: (connection: RawConnection, head: string) => string | null = () => null,
  port = 0,
): Promise<RawApp> {
  const connections: RawConnection[] = []
  const server: Server = createServer((socket) => {
    const connection = new RawConnection(socket)
    connections.push(connection)
    let seen = 0
    socket.on('data', () => {
      for (let end = connection.text.indexOf('\r\n\r\n', seen); end !== -1; end = connection.text.indexOf('\r\n\r\n', seen)) {
        const head = connection.text.slice(seen, end)
        seen = end + 4
        if (!/^[A-Z]+ \S+ HTTP\/1\.1/.test(head)) continue
        const text = answer(connection, head)
        if (text !== null) socket.write(text, 'latin1')
      }
    })
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    connections,
    received: () => connections.map((connection) => connection.text).join(''),
    close: async () => {
      for (const { socket } of connections) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** A bare connection to the edge. */
export async function rawClient(port: number): Promise<RawConnection> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return new RawConnection(socket)
}

/** Sends bytes as they are and returns all that comes until the edge closes or `quietMs` pass without more. */
export async function exchangeRaw(port: number, bytes: string | Buffer): Promise<string> {
  const client = await rawClient(port)
  client.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes)
  try {
    await eventually(() => client.isClosed || /(?:^|\r\n\r\n)HTTP\/1\.1 [2-5][0-9]{2} [\s\S]*\r\n\r\n/.test(client.text))
    return client.text
  } finally {
    client.socket.destroy()
  }
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 ([0-9]{3})/.exec(answer)?.[1] ?? 0)
}

export const OK = 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok'
