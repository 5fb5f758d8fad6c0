import type { IncomingMessage } from 'node:http'
import { type BodyFraming, safeTrailers } from './headers.ts'
import type { UpstreamConnection } from './upstream-connection.ts'

/** The body of a request on its way to an instance, with back-pressure. Nothing is read before a connection stands. */
export class RequestBody {
  readonly framing: BodyFraming
  readonly #request: IncomingMessage
  #connection: UpstreamConnection | null = null
  #isSent: boolean
  /** performance.now() of the last byte that an instance was given. */
  #movedAt = 0

  constructor(request: IncomingMessage, framing: BodyFraming) {
    this.#request = request
    this.framing = framing
    this.#isSent = this.isEmpty
  }

  get isEmpty(): boolean {
    return this.framing === 'none' || this.framing === 0
  }

  /** Whether the instance was given every byte. */
  get isSent(): boolean {
    return this.#isSent
  }

  /** From when on an answer is waited for: the end of the body, or while it comes its last byte. */
  get movedAt(): number {
    return this.#movedAt
  }

  pumpInto(connection: UpstreamConnection): void {
    this.#movedAt = performance.now()
    if (this.isEmpty) return
    this.#connection = connection
    connection.onDrain(this.#resume)
    this.#request.on('data', this.#write).on('end', this.#finish)
    this.#request.resume()
  }

  /** The connection is gone; what is still to come stays unread. */
  detach(): void {
    const connection = this.#connection
    if (connection === null) return
    this.#connection = null
    connection.offDrain(this.#resume)
    this.#request.off('data', this.#write).off('end', this.#finish)
    this.#request.pause()
  }

  /** Nobody will read the rest: it is thrown away, so that the client can finish writing and read the answer. */
  abandon(): void {
    this.detach()
    if (!this.isEmpty) this.#request.resume()
  }

  readonly #resume = (): void => {
    this.#request.resume()
  }

  readonly #write = (chunk: Buffer): void => {
    const connection = this.#connection
    if (connection === null) return
    this.#movedAt = performance.now()
    let hasRoom: boolean
    if (this.framing === 'chunked') {
      connection.cork()
      connection.write(`${chunk.length.toString(16)}\r\n`)
      connection.write(chunk)
      hasRoom = connection.write('\r\n')
      connection.uncork()
    } else {
      hasRoom = connection.write(chunk)
    }
    if (!hasRoom) this.#request.pause()
  }

  readonly #finish = (): void => {
    const connection = this.#connection
    if (connection === null) return
    this.#isSent = true
    this.#movedAt = performance.now()
    if (this.framing === 'chunked') {
      const trailers = safeTrailers(this.#request.rawTrailers)
      connection.write(`0\r\n${trailers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`)
    }
    this.detach()
  }
}
