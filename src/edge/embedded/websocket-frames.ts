const HEADER_BYTES_MAX = 14

/** Follows the frames of one direction of a websocket (RFC 6455 §5.2) and knows whether it stands between two of them. */
export class FrameBoundary {
  #remaining = 0
  readonly #header = Buffer.alloc(HEADER_BYTES_MAX)
  #held = 0

  get isAtBoundary(): boolean {
    return this.#remaining === 0 && this.#held === 0
  }

  push(chunk: Uint8Array): void {
    this.pushUntilBoundary(chunk, false)
  }

  /** Number of bytes up to and with the end of the first frame that ends in the chunk; -1 when none does. */
  pushUntilBoundary(chunk: Uint8Array, stop = true): number {
    let at = 0
    while (at < chunk.length) {
      if (this.#remaining > 0) {
        const used = Math.min(this.#remaining, chunk.length - at)
        this.#remaining -= used
        at += used
      } else {
        this.#header[this.#held] = chunk[at] ?? 0
        this.#held += 1
        at += 1
        this.#readHeader()
      }
      if (stop && this.isAtBoundary) return at
    }
    return -1
  }

  #readHeader(): void {
    if (this.#held < 2) return
    const second = this.#header[1] ?? 0
    const short = second & 0x7f
    const lengthBytes = short === 126 ? 2 : short === 127 ? 8 : 0
    const maskBytes = (second & 0x80) === 0 ? 0 : 4
    if (this.#held < 2 + lengthBytes + maskBytes) return
    this.#remaining = lengthBytes === 0 ? short : lengthBytes === 2 ? this.#header.readUInt16BE(2) : Number(this.#header.readBigUInt64BE(2))
    this.#held = 0
  }
}

/** A close frame as a server sends it: unmasked, 1012 Service Restart (IANA websocket close codes). */
export const CLOSE_1012 = Buffer.from([0x88, 0x02, 0x03, 0xf4])
