import { execFileSync } from 'node:child_process'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ENVIRONMENT_END, environmentScript } from './environment-script.ts'

describe('environmentScript', () => {
  test('I8: any value without NUL arrives byte for byte', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        const value = Buffer.from(text.replaceAll('\0', ''), 'utf8').toString('utf8')
        const printed = execFileSync('/bin/sh', ['-c', `${environmentScript({ VALUE: value })}\nexec printenv VALUE`], {
          env: {},
          encoding: 'utf8',
        })
        expect(printed).toBe(`${value}\n`)
      }),
      { numRuns: 40, examples: [["it's"], ["'"], ["''\\''"], ['$(exit 1)`id`'], ['a\nb\n'], ['!! ~ * ? #'], ['\u2028ü🚢']] },
    )
  })

  test('I9: a name can never become a command', () => {
    for (const name of ['', 'a b', 'a;id', 'a\nid', '1a', 'a-b', 'a.b', '$(id)', 'ä', 'PPID', 'IFS']) {
      expect(() => environmentScript({ [name]: 'x' })).toThrow(/can't be used/)
    }
  })

  test('I9: a NUL in a value is refused, naming the variable and not the value', () => {
    expect(() => environmentScript({ TOKEN: 'secret\0' })).toThrow(/TOKEN contains a NUL/)
    expect(() => environmentScript({ TOKEN: 'secret\0' })).not.toThrow(/secret/)
  })

  test('it ends with a line by which a cut one is noticed', () => {
    expect(environmentScript({}).trimEnd().endsWith(ENVIRONMENT_END)).toBe(true)
  })
})
