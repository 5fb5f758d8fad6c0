import { appendFileSync, readdirSync, truncateSync, writeFileSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { eventually } from '../../../test/support/eventually.ts'
import { temporaryDirectory } from '../../../test/support/temporary-directory.ts'
import { systemClock } from '../../core/clock.ts'
import { LIMITS } from '../../core/limits.ts'
import { lastState } from '../../core/lines.ts'
import { cutLines, InstanceLog, type LogSource } from './instance-log.ts'
import { LogTimes } from './log-times.ts'
import { LogWatch } from './log-watch.ts'

const ENDED: LogSource = { isRunning: () => false, isOver: () => true, changed: async () => {} }
const RUNNING: LogSource = { ...ENDED, isRunning: () => true }

describe('cutLines', () => {
  test('I12: whatever comes, pieces are bounded, lose nothing and leave only an unfinished line', () => {
    fc.assert(
      fc.property(
        fc.array(fc.oneof(fc.string({ unit: 'grapheme', maxLength: 40 }), fc.constant('ü'.repeat(9000)), fc.constant('\n'))),
        (parts) => {
          // A replacement character in a piece means that a character was cut in two, so none may come in.
          const bytes = Buffer.from(parts.join('').replaceAll('\ufffd', ''))
          const pieces = cutLines(bytes, true)
          expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(bytes.length)
          for (const piece of pieces) {
            expect(Buffer.byteLength(piece.text ?? '')).toBeLessThanOrEqual(LIMITS.logLineBytes)
            expect(piece.text).not.toContain('\ufffd')
          }
        },
      ),
      { numRuns: 100 },
    )
  })

  test('of a progress bar only the last state is a line, however long it is', () => {
    const bar = Buffer.from(`${Array.from({ length: 3000 }, (_, n) => `bar ${n}`).join('\r')}\ndone\n`)
    const pieces = cutLines(bar, true)
    expect(pieces.reduce((sum, piece) => sum + piece.bytes, 0)).toBe(bar.length)
    const shown = pieces.flatMap(({ text }) => (text === null ? [] : [lastState(text)]))
    expect(shown).toEqual(['bar 2999', 'done'])
  })

  test('an unfinished line waits for its end unless nothing can follow', () => {
    expect(cutLines(Buffer.from('one\r\ntwo'), false)).toEqual([{ text: 'one', bytes: 5 }])
    expect(cutLines(Buffer.from('one\ntwo'), true).map(({ text }) => text)).toEqual(['one', 'two'])
    expect(cutLines(Buffer.alloc(0), true)).toEqual([])
  })
})

describe('InstanceLog', () => {
  let file: string
  let log: InstanceLog
  beforeEach(() => {
    file = join(temporaryDirectory(), 'log')
    log = new InstanceLog(file)
  })
  const read = async (after: number | null, tail: number | null = null, source = ENDED) => {
    const found: { offset: number; text: string }[] = []
    const options = { after, tail, follow: false, signal: new AbortController().signal }
    for await (const { offset, text } of log.lines(options, source)) found.push({ offset, text })
    return found
  }

  test('no file is no lines', async () => {
    expect(await read(null)).toEqual([])
    expect(await read(null, 10)).toEqual([])
  })

  test('reading on after any line gives exactly the rest', async () => {
    writeFileSync(file, Array.from({ length: 50 }, (_, index) => `line ${index} ${'ä'.repeat(index)}\n`).join(''))
    const all = await read(null)
    expect(all).toHaveLength(50)
    for (const [index, line] of all.entries()) expect(await read(line.offset)).toEqual(all.slice(index + 1))
  })

  test('the tail counts lines from the end, over chunk borders, an unfinished one included', async () => {
    const text = Array.from({ length: 20_000 }, (_, index) => `number ${index} of many lines that fill some chunks`)
    writeFileSync(file, text.join('\n'))
    expect((await read(null, 3)).map((line) => line.text)).toEqual(text.slice(-3))
    expect((await read(null, 15_000)).map((line) => line.text)).toEqual(text.slice(-15_000))
    expect(await read(null, 3, RUNNING)).toHaveLength(2)
    expect(await read(null, 100_000)).toHaveLength(20_000)
  })

  test('what lies before the floor is not shown, and who reads on across it is told', async () => {
    writeFileSync(file, 'first\nsecond\nthird\n')
    writeFileSync(`${file}.floor`, '8\n')
    expect(await read(null)).toEqual([{ offset: 19, text: 'third' }])
    const [notice, third] = await read(6)
    expect(notice?.text).toContain('bytes of older output were dropped')
    expect(third?.text).toBe('third')
  })

  test('I9: control sequences of an app reach no terminal', async () => {
    writeFileSync(file, '\u001b[31mred\u001b[0m \u0007\u001b]0;title\u0007\n')
    expect((await read(null))[0]?.text).toBe('red \ufffd')
  })

  test('a log that the app itself truncates keeps growing offsets', async () => {
    writeFileSync(file, 'before\n')
    const watch = new LogWatch(log, systemClock)
    watch.start()
    const [before] = await read(null)
    truncateSync(file)
    await eventually(() => log.base() > 0)
    appendFileSync(file, 'after\n')
    expect(await read(before?.offset ?? 0)).toEqual([{ offset: 13, text: 'after' }])
    watch.stop()
  })

  test('I11: who only reads along writes nothing beside the log, whatever happens to it', async () => {
    writeFileSync(file, 'x'.repeat(2 * LIMITS.instanceLogBytes))
    const reader = new LogWatch(log, systemClock, () => false)
    reader.start()
    appendFileSync(file, 'more\n')
    await reader.changed(2 * LIMITS.instanceLogBytes, new AbortController().signal)
    truncateSync(file)
    await eventually(() => log.length() === 0)
    await reader.changed(0, AbortSignal.timeout(200))
    reader.stop()
    expect(readdirSync(dirname(file))).toEqual([basename(file)])
  })
})

describe('LogTimes', () => {
  test('a line has the time of the first note at or behind its end, also when notes come late', () => {
    const file = join(temporaryDirectory(), 'log')
    const times = new LogTimes(file)
    expect(times.at(1)).toBeNull()
    times.note(100, 1000)
    times.note(200, 2500)
    expect([times.at(1), times.at(100), times.at(101), times.at(201)]).toEqual([1000, 1000, 2500, null])
    new LogTimes(file).note(300, 3000)
    expect(times.at(201)).toBe(3000)
  })

  test('I12: notes are bounded, at the price of coarser times', () => {
    const file = join(temporaryDirectory(), 'log')
    const times = new LogTimes(file)
    writeFileSync(`${file}.times`, Array.from({ length: 20_000 }, (_, index) => `${index * 10} ${(index / 1000).toFixed(3)}\n`).join(''))
    expect(times.at(199_990)).toBe(19_999)
    times.bound()
    const after = new LogTimes(file)
    expect(after.at(199_990)).toBe(19_999)
    expect(Math.abs((after.at(1000) ?? 0) - 100)).toBeLessThanOrEqual(1)
  })
})
