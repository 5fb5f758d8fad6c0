import { LIMITS } from '../core/limits.ts'

export interface EngineFrame {
  readonly stream: 'stdout' | 'stderr'
  /** What was written at once; a line over 16 KiB comes in several frames of which only the last ends with a line break. */
  readonly data: Buffer
}

const HEADER_BYTES = 8

/**
 * Takes the multiplexed output of a container without a terminal (logs, attach, exec) apart: header `[stream, 0, 0, 0, length u32 BE]`,
 * then the data. A stream that ends within a frame was cut: what came of the last frame is dropped.
 */
export async function* frames(body: AsyncIterable<Buffer>): AsyncGenerator<EngineFrame> {
  let rest: Buffer = Buffer.alloc(0)
  for await (const chunk of body) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
    for (;;) {
      if (rest.length < HEADER_BYTES) break
      const length = rest.readUInt32BE(4)
      if (length > LIMITS.engineFrameBytes || (rest[0] ?? 0) > 2) throw new Error('the engine sent output that is no framed stream')
      if (rest.length < HEADER_BYTES + length) break
      yield { stream: rest[0] === 2 ? 'stderr' : 'stdout', data: rest.subarray(HEADER_BYTES, HEADER_BYTES + length) }
      rest = rest.subarray(HEADER_BYTES + length)
    }
  }
}

/** JSON values of a stream, one a line: events, progress of a pull or push. Lines that are none are passed over. */
export async function* jsonLines<Value>(body: AsyncIterable<Buffer>): AsyncGenerator<Value> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of body) {
    rest += decoder.decode(chunk, { stream: true })
    for (let end = rest.indexOf('\n'); end !== -1; end = rest.indexOf('\n')) {
      const value = parsed<Value>(rest.slice(0, end))
      rest = rest.slice(end + 1)
      if (value !== null) yield value
    }
    if (rest.length > LIMITS.engineFrameBytes) throw new Error('the engine sent a line that is too long')
  }
  const value = parsed<Value>(rest)
  if (value !== null) yield value
}

function parsed<Value>(line: string): Value | null {
  if (line.trim() === '') return null
  try {
    return JSON.parse(line) as Value
  } catch {
    return null
  }
}
