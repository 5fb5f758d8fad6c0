import fc from 'fast-check'
import { expect, test } from 'vitest'
import { frames, jsonLines } from './engine-frames.ts'

function frame(stream: number, data: Uint8Array): Buffer {
  const header = Buffer.alloc(8)
  header[0] = stream
  header.writeUInt32BE(data.length, 4)
  return Buffer.concat([header, data])
}

async function* pieces(whole: Buffer, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < whole.length; at += size) yield whole.subarray(at, at + size)
}

async function all<Value>(source: AsyncIterable<Value>): Promise<Value[]> {
  const found: Value[] = []
  for await (const value of source) found.push(value)
  return found
}

test('frames come out as they went in, however the stream is cut', async () => {
  const input = fc.array(fc.tuple(fc.constantFrom(1, 2), fc.uint8Array({ maxLength: 50 })), { maxLength: 10 })
  await fc.assert(
    fc.asyncProperty(input, fc.integer({ min: 1, max: 20 }), async (written, size) => {
      const whole = Buffer.concat(written.map(([stream, data]) => frame(stream, data)))
      const read = await all(frames(pieces(whole, size)))
      expect(read.map(({ stream, data }) => [stream === 'stderr' ? 2 : 1, [...data]])).toEqual(
        written.map(([stream, data]) => [stream, [...data]]),
      )
    }),
  )
})

test('a stream cut within a frame ends without it; one that is no framed stream is refused', async () => {
  const cut = Buffer.concat([frame(1, Buffer.from('whole')), frame(1, Buffer.from('lost')).subarray(0, 10)])
  expect((await all(frames(pieces(cut, 3)))).map((entry) => entry.data.toString())).toEqual(['whole'])
  await expect(all(frames(pieces(Buffer.from('plain text of a terminal'), 100)))).rejects.toThrow('no framed stream')
  await expect(all(frames(pieces(frame(1, Buffer.alloc(0)).fill(0xff, 4, 8), 100)))).rejects.toThrow('no framed stream')
})

test('JSON lines: cut anywhere, with characters of several bytes; what is no JSON is passed over', async () => {
  const whole = Buffer.from('{"a":"ü🚢"}\r\nnonsense\n\n{"b":2}')
  for (const size of [1, 2, 7, 100]) expect(await all(jsonLines(pieces(whole, size)))).toEqual([{ a: 'ü🚢' }, { b: 2 }])
  await expect(all(jsonLines(pieces(Buffer.alloc(3 * 1024 * 1024, 'x'), 65536)))).rejects.toThrow('too long')
})
