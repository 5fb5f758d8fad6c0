import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { EventBoundary } from './sse-boundary.ts'
import { CLOSE_1012, FrameBoundary } from './websocket-frames.ts'

const cuts = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 40 })

function pieces(bytes: Buffer, lengths: readonly number[]): Buffer[] {
  const parts: Buffer[] = []
  for (let at = 0, index = 0; at < bytes.length; index++) {
    const length = lengths[index % lengths.length] ?? 1
    parts.push(bytes.subarray(at, at + length))
    at += length
  }
  return parts
}

describe('events', () => {
  const stands = (...texts: string[]) => {
    const boundary = new EventBoundary()
    for (const text of texts) boundary.push(Buffer.from(text))
    return boundary.isAtBoundary
  }

  test.each(['\n\n', '\r\n\r\n', '\r\r', '\n\r\n', '\r\n\n'])('an empty line of %j ends an event, in one piece or in several', (end) => {
    expect(stands(`data: a${end}`)).toBe(true)
    expect(stands('data: a', ...end)).toBe(true)
    expect(stands(`data: a${end}d`)).toBe(false)
    expect(stands(`data: a${end.slice(0, 1)}`)).toBe(false)
  })

  test('one CRLF is one line end, not two', () => {
    expect(stands('data: a\r\n')).toBe(false)
    expect(stands('data: a\r', '\n')).toBe(false)
  })

  test('a stream that has sent nothing stands between events', () => {
    expect(stands()).toBe(true)
  })

  test('cutting stops right after the event, with both halves of a CRLF', () => {
    const boundary = new EventBoundary()
    boundary.push(Buffer.from('data: ha'))
    expect(boundary.pushUntilBoundary(Buffer.from('lf\r\n\r\ndata: b'))).toBe('lf\r\n\r\n'.length)
    const other = new EventBoundary()
    other.push(Buffer.from('data: ha'))
    expect(other.pushUntilBoundary(Buffer.from('lf'))).toBe(-1)
  })

  test('however a stream is cut, the same places are boundaries', () => {
    const text = fc.array(fc.constantFrom('data: x', '\n', '\r', '\r\n', ': c', 'id: 1')).map((words) => words.join(''))
    fc.assert(
      fc.property(text, cuts, (stream, lengths) => {
        const bytes = Buffer.from(stream)
        const byByte = new EventBoundary()
        for (const byte of bytes) byByte.push(Buffer.of(byte))
        const byPiece = new EventBoundary()
        for (const piece of pieces(bytes, lengths)) byPiece.push(piece)
        expect(byPiece.isAtBoundary).toBe(byByte.isAtBoundary)
      }),
    )
  })
})

function frame(length: number, isMasked: boolean): Buffer {
  const mask = isMasked ? Buffer.from([1, 2, 3, 4]) : Buffer.alloc(0)
  const bit = isMasked ? 0x80 : 0
  if (length < 126) return Buffer.concat([Buffer.from([0x82, bit | length]), mask, Buffer.alloc(length, 0xff)])
  if (length < 65_536) {
    return Buffer.concat([Buffer.from([0x82, bit | 126, length >> 8, length & 0xff]), mask, Buffer.alloc(length, 0xff)])
  }
  const head = Buffer.alloc(10)
  head.set([0x82, bit | 127])
  head.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([head, mask, Buffer.alloc(length, 0xff)])
}

describe('websocket frames', () => {
  const anyFrame = fc
    .tuple(fc.oneof(fc.integer({ min: 0, max: 140 }), fc.constantFrom(125, 126, 127, 65_535, 65_536, 70_000)), fc.boolean())
    .map(([length, isMasked]) => frame(length, isMasked))
  const bigCuts = fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 10 })

  test('after whole frames it stands at a boundary, after all but the last byte it does not', () => {
    fc.assert(
      fc.property(fc.array(anyFrame, { minLength: 1, maxLength: 6 }), bigCuts, (frames, lengths) => {
        const bytes = Buffer.concat(frames)
        const whole = new FrameBoundary()
        for (const piece of pieces(bytes, lengths)) whole.push(piece)
        expect(whole.isAtBoundary).toBe(true)
        const short = new FrameBoundary()
        for (const piece of pieces(bytes.subarray(0, -1), lengths)) short.push(piece)
        expect(short.isAtBoundary).toBe(false)
      }),
    )
  })

  test('cutting stops right after the first frame that ends', () => {
    const boundary = new FrameBoundary()
    const first = frame(300, false)
    boundary.push(first.subarray(0, 100))
    expect(boundary.pushUntilBoundary(Buffer.concat([first.subarray(100), frame(5, false)]))).toBe(first.length - 100)
    expect(boundary.isAtBoundary).toBe(true)
  })

  test('the close frame is itself one whole frame with the code 1012', () => {
    const boundary = new FrameBoundary()
    boundary.push(CLOSE_1012)
    expect(boundary.isAtBoundary).toBe(true)
    expect(CLOSE_1012.readUInt16BE(2)).toBe(1012)
  })
})
