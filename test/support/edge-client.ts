import { connect, type Socket } from 'node:net'

export interface PlainAnswer {
  readonly status: number
  readonly headers: ReadonlyMap<string, string>
  readonly body: Buffer
}

/**
 * A keep-alive HTTP client on a bare socket that never retries: whatever the edge loses, a caller sees. It opens a second connection
 * only after an answer that said `Connection: close`; a connection that ends otherwise is counted and thrown.
 */
export class PlainClient {
  readonly #port: number
  readonly #host: string
  #socket: Socket | null = null
  #received: Buffer = Buffer.alloc(0)
  #wake: (() => void) | null = null
  #isEnded = false
  connections = 0
  /** Connections that the other side ended without having announced it. */
  unannouncedCloses = 0
  announcedCloses = 0

  constructor(port: number, host: string) {
    this.#port = port
    this.#host = host
  }

  async request(method: string, path: string, body?: Buffer, headers = ''): Promise<PlainAnswer> {
    const socket = this.#socket ?? (await this.#open())
    const length = body === undefined ? '' : `content-length: ${body.length}\r\n`
    socket.write(`${method} ${path} HTTP/1.1\r\nhost: ${this.#host}\r\n${length}${headers}\r\n`)
    if (body !== undefined) socket.write(body)
    const head = await this.#readHead()
    const size = Number(head.headers.get('content-length') ?? 0)
    const answer: PlainAnswer = { ...head, body: await this.#read(size) }
    if (head.headers.get('connection') === 'close') {
      this.announcedCloses += 1
      this.close()
    }
    return answer
  }

  close(): void {
    this.#socket?.removeAllListeners('close').destroy()
    this.#socket = null
    this.#received = Buffer.alloc(0)
  }

  async #open(): Promise<Socket> {
    const socket = connect({ port: this.#port, host: '127.0.0.1', noDelay: true })
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', reject)
    })
    this.connections += 1
    this.#isEnded = false
    this.#socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk])
      this.#wake?.()
    })
    socket.on('error', () => {})
    socket.on('end', () => this.#end())
    socket.on('close', () => this.#end())
    return socket
  }

  #end(): void {
    if (this.#isEnded) return
    this.#isEnded = true
    this.unannouncedCloses += 1
    this.#wake?.()
  }

  async #readHead(): Promise<{ readonly status: number; readonly headers: ReadonlyMap<string, string> }> {
    const end = await this.#until(() => this.#received.indexOf('\r\n\r\n'))
    const [first = '', ...lines] = this.#received.toString('latin1', 0, end).split('\r\n')
    this.#received = this.#received.subarray(end + 4)
    const headers = new Map(
      lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const),
    )
    return { status: Number(first.split(' ')[1]), headers }
  }

  async #read(size: number): Promise<Buffer> {
    await this.#until(() => (this.#received.length >= size ? size : -1))
    const body = this.#received.subarray(0, size)
    this.#received = this.#received.subarray(size)
    return body
  }

  async #until(found: () => number): Promise<number> {
    for (;;) {
      const at = found()
      if (at !== -1) return at
      if (this.#isEnded) throw new Error('the connection ended within an answer')
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
