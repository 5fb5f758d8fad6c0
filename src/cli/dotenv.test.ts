import { parseEnv } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { parseDotenv } from './dotenv.ts'

const parse = (text: string) => Object.fromEntries(parseDotenv(text, '.env').values)

describe('a .env file', () => {
  test.each<[string, Record<string, string>]>([
    ['', {}],
    ['# only a comment\n\n', {}],
    ['A=1\nB=two words\n', { A: '1', B: 'two words' }],
    ['export A=1', { A: '1' }],
    ['  A = 1  ', { A: '1' }],
    ['A=', { A: '' }],
    ['A=#not a value', { A: '' }],
    ['A=1 # why', { A: '1' }],
    ['A=a#b', { A: 'a#b' }],
    ['A="a # b" # why', { A: 'a # b' }],
    ["A='it is $HOME \\n as it is'", { A: 'it is $HOME \\n as it is' }],
    ['A="one\\ntwo \\"quoted\\" \\\\ \\d"', { A: 'one\ntwo "quoted" \\ \\d' }],
    ['A=`both " and \'`', { A: 'both " and \'' }],
    ['KEY="-----BEGIN-----\nabc\n-----END-----"\nB=2', { KEY: '-----BEGIN-----\nabc\n-----END-----', B: '2' }],
    ['\ufeffA=1\r\nB="x\r\ny"\r\n', { A: '1', B: 'x\ny' }],
    ['URL=postgres://u:p@h/db?a=b', { URL: 'postgres://u:p@h/db?a=b' }],
    ['A=${OTHER}', { A: '${OTHER}' }],
  ])('%j is read', (text, expected) => {
    expect(parse(text)).toEqual(expected)
  })

  test.each<[string, RegExp]>([
    ['A=1\nnonsense\nB=2', /^\.env:2: is not NAME=value$/],
    ['\n\nA="never\nclosed\n', /^\.env:3: the " that begins here is never closed$/],
    ['A="x" y', /^\.env:1: something follows the closing "$/],
    ["K='a\nb' c\n", /^\.env:2: something follows the closing '$/],
    ['=x\nfoo bar=1', /^\.env:1: is not NAME=value\n\.env:2: is not NAME=value$/],
  ])('I9: %j is refused with its line', (text, says) => {
    expect(() => parse(text)).toThrow(says)
  })

  test.each<[string, string[]]>([
    ['1A=x\nB=1', ['.env:1: 1A is no variable name: letters, digits and _ only, not beginning with a digit']],
    ['PORT=80\nB=1', ['.env:1: PORT is set by Shiplock; give run.port, and read PORT in the app']],
    ['SHIPLOCK_SERVICE=x\nB=1', ['.env:1: SHIPLOCK_SERVICE is reserved: names that begin with SHIPLOCK_ are set by Shiplock']],
    ['B=0\n\nB=1', ['.env:1: B is set again in line 3, which counts']],
    [`C=${'x'.repeat(65_537)}\nB=1`, ['.env:1: C is larger than 65536 bytes']],
  ])('takes what it can of %.20j and tells the rest', (text, leftOut) => {
    expect(parseDotenv(text, '.env')).toEqual({ values: new Map([['B', '1']]), leftOut })
  })

  test('I8: a refusal never shows a value', () => {
    expect(() => parse('A="hunter2-and-more" x\nhunter2-and-more\nB="hunter2-and-more')).toThrow(expect.not.stringContaining('hunter2'))
  })

  test('says what Node says of every file that both understand', () => {
    const name = fc.stringMatching(/^[A-Z_][A-Z0-9_]{0,8}$/).filter((text) => text !== 'PORT')
    const value = fc
      .string({ unit: fc.constantFrom('a', 'B', '1', '=', ' ', '-', '/', ':', '$', '{'), maxLength: 12 })
      .map((text) => text.trim())
    const quoted = fc
      .tuple(fc.constantFrom('"', "'", '`'), value, fc.constantFrom('', '\n'), value)
      .map(([q, a, nl, b]) => `${q}${a}${nl}${b}${q}`)
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, fc.oneof(value, quoted)), { selector: ([key]) => key, maxLength: 6 }), (pairs) => {
        const text = pairs.map(([key, given]) => `${key}=${given}\n`).join('')
        expect(parse(text)).toEqual({ ...parseEnv(text) })
      }),
    )
  })

  test('whatever the file, the answer is its values or a refusal', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('A', '=', '"', "'", '`', '\\', '\n', ' ', '#', 'x', '\t'), maxLength: 60 }), (text) => {
        try {
          parse(text)
        } catch (error) {
          expect((error as { code?: string }).code).toBe('INPUT_INVALID')
        }
      }),
    )
  })
})
