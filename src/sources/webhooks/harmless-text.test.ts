import fc from 'fast-check'
import { expect, test } from 'vitest'
import { printable } from '../../core/printable.ts'
import { harmless, harmlessLines, isHarmless } from './harmless-text.ts'

test.each([
  ['plain', 'plain'],
  ['\u001b[31mred\u001b[0m', '�[31mred�[0m'],
  ['a\nb\tc\rd', 'a�b�c�d'],
  ['\u202eexe.gpj', '�exe.gpj'],
  ['\ufeffbom\u200bzero', '�bom�zero'],
  ['\ud800', '�'],
  ['👩‍🚒 ünïcode 修正', '👩‍🚒 ünïcode 修正'],
])('%j becomes %j', (text, expected) => {
  expect(harmless(text)).toBe(expected)
})

test('a long text is cut, also in the middle of a pair', () => {
  expect(harmless('abcdef', 4)).toBe('abc…')
  expect(harmless('ab👩x', 4)).toBe('ab�…')
  expect(harmless('abcd', 4)).toBe('abcd')
})

test('line breaks stay in a message, as \\n', () => {
  expect(harmlessLines('a\r\nb\rc\n\u001b[2J')).toBe('a\nb\nc\n�[2J')
})

test('nothing is left for `printable` to do, twice is as once, and no text gets longer or collides with a harmless one', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary', maxLength: 40 }), (text) => {
      const once = harmless(text)
      expect(printable(once)).toBe(once)
      expect(harmless(once)).toBe(once)
      expect(once.length).toBeLessThanOrEqual(text.length)
      expect(isHarmless(text)).toBe(text !== '' && once === text)
      if (once !== text) expect(once).toContain('\ufffd')
    }),
  )
})
