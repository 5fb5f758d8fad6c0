import { type ClientRequest, type IncomingMessage, request } from 'node:http'

export interface StreamFrame {
  readonly id: string | null
  readonly event: string
  // biome-ignore lint/suspicious/noExplicitAny: tests look into frames of every shape
  readonly data: any
}

/** A reader of server-sent events, bare enough to have a thousand of them. */
export class StreamReader {
  readonly frames: StreamFrame[] = []
  readonly #request: ClientRequest
  #response: IncomingMessage | null = null
  #rest = ''
  #isClosed = false
  readonly #waiters = new Set<() => void>()

  constructor(url: string, token: string, lastEventId: string | null = null) {
    this.#request = request(url, {
      agent: false,
      headers: {
        accept: 'text/event-stream',
        authorization: `Bearer ${token}`,
        ...(lastEventId === null ? {} : { 'last-event-id': lastEventId }),
      },
    })
    this.#request.on('response', (response) => {
      this.#response = response
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => this.#take(chunk))
      response.on('close', () => this.#close())
      response.on('error', () => this.#close())
      this.#wake()
    })
    this.#request.on('error', () => this.#close())
    this.#request.end()
  }

  get status(): number | undefined {
    return this.#response?.statusCode
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get lastId(): string | null {
    return this.frames.findLast((frame) => frame.id !== null)?.id ?? null
  }

  /** Resolves once `condition` holds; looked at after everything that arrives. */
  async until(condition: (reader: this) => boolean, whatFor: string, timeoutMs = 20_000): Promise<this> {
    const deadline = Date.now() + timeoutMs
    while (!condition(this)) {
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`waited in vain for ${whatFor}; frames: ${this.frames.length}, closed: ${this.#isClosed}`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#waiters.add(() => {
          clearTimeout(timer)
          resolve()
        })
      })
    }
    return this
  }

  pause(): void {
    this.#response?.pause()
  }

  resume(): void {
    this.#response?.resume()
  }

  close(): void {
    this.#request.destroy()
    this.#close()
  }

  #take(chunk: string): void {
    const parts = (this.#rest + chunk).split('\n\n')
    this.#rest = parts.pop() ?? ''
    for (const part of parts) {
      const fields = new Map(part.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1).trim()]))
      const event = fields.get('event')
      if (event !== undefined) this.frames.push({ id: fields.get('id') ?? null, event, data: JSON.parse(fields.get('data') ?? 'null') })
    }
    this.#wake()
  }

  #close(): void {
    this.#isClosed = true
    this.#wake()
  }

  #wake(): void {
    for (const wake of this.#waiters) wake()
    this.#waiters.clear()
  }
}
