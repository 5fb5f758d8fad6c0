const LF = 10
const CR = 13

/**
 * Follows a text/event-stream and knows whether it stands between two events: after an empty line, whatever the line ends
 * (WHATWG HTML §9.2.5: LF, CR or CRLF). A stream that has sent nothing stands at a boundary.
 */
export class EventBoundary {
  /** Line ends in a row; two make an empty line. */
  #breaks = 2
  #wasReturn = false

  get isAtBoundary(): boolean {
    return this.#breaks >= 2
  }

  push(chunk: Uint8Array): void {
    // Only the end matters, and one byte before it that is not a line end is far enough to begin.
    let from = chunk.length
    while (from > 0 && isBreak(chunk[from - 1])) from -= 1
    for (let index = Math.max(0, from - 1); index < chunk.length; index++) this.#take(chunk[index])
  }

  /** Number of bytes up to and with the first boundary inside the chunk, -1 when there is none. */
  pushUntilBoundary(chunk: Uint8Array): number {
    for (let index = 0; index < chunk.length; index++) {
      this.#take(chunk[index])
      // A CR may be the first half of a CRLF: then the LF belongs to this event too.
      if (this.isAtBoundary && !(chunk[index] === CR && chunk[index + 1] === LF)) return index + 1
    }
    return -1
  }

  #take(byte: number | undefined): void {
    if (byte === LF && this.#wasReturn) this.#wasReturn = false
    else if (isBreak(byte)) {
      this.#breaks += 1
      this.#wasReturn = byte === CR
    } else {
      this.#breaks = 0
      this.#wasReturn = false
    }
  }
}

function isBreak(byte: number | undefined): boolean {
  return byte === LF || byte === CR
}
