import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { printable } from './printable.ts'

/** What a terminal would act on, or a database refuse. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what must be gone
const HARMFUL = /[\u0000-\u0008\u000a-\u001f\u007f-\u009f\u200e\u200f\u202a-\u202e\u2066-\u2069]/

describe('I9: foreign text is harmless', () => {
  test('whatever it was, nothing is left that a terminal acts on', () => {
    const hostile = fc.array(
      fc.oneof(
        fc.string({ unit: 'binary' }),
        fc.constantFrom('\u001b[', '\u001b]0;', '\u0007', '\u001b\\', '\u009b', '31m', '\u0000', '\u202e', '\ud83d'),
      ),
    )
    fc.assert(
      fc.property(hostile, (parts) => {
        const text = printable(parts.join(''))
        expect(text).not.toMatch(HARMFUL)
        // Halves of characters are refused by PostgreSQL.
        expect(Buffer.from(text).toString()).toBe(text)
      }),
    )
  })

  test('made harmless twice it is the same', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(printable(printable(text))).toBe(printable(text))
      }),
    )
  })

  test('a flood of unfinished sequences takes no more time than its length', () => {
    for (const flood of ['\u001b]', '\u001b[', '\u001b[1;', '\u001bP', '\u009b;'])
      expect(printable(flood.repeat(50_000))).toBeTypeOf('string')
  })
})

test('colours, titles and links of a terminal go, the words stay', () => {
  expect(printable('\u001b[1;32mok\u001b[0m done')).toBe('ok done')
  expect(printable('\u001b]0;title\u0007words')).toBe('words')
  expect(printable('\u001b]8;;https://example.com\u001b\\link\u001b]8;;\u001b\\')).toBe('link')
})

test('tabs, letters of every script and emoji stay', () => {
  for (const text of ['a\tb', 'Grüße, 世界', '🚢 ready', '“quoted” — done']) expect(printable(text)).toBe(text)
})
