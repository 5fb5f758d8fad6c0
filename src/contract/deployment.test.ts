import { describe, expect, test } from 'vitest'
import { CreateDeployment } from './deployment.ts'
import { integer, name, serviceName, text } from './primitives.ts'
import { SetVariables } from './server.ts'

describe('input of the API', () => {
  test('defaults are filled in, so that nothing below has to', () => {
    const parsed = CreateDeployment.parse({ service: 'web', source: { kind: 'git', url: 'https://example.com/a.git' } })
    expect(parsed).toEqual({
      service: 'web',
      source: { kind: 'git', url: 'https://example.com/a.git', ref: null },
      trigger: { kind: 'api', note: null },
      options: { rebuild: false, autoRollback: null, configPath: null, rootDirectory: null, build: 'auto', overrideFreeze: null },
    })
  })

  test.each(['../outside', 'a/../../b', '/etc/passwd', ''])('I9: a path that leaves the source is refused: %s', (configPath) => {
    expect(CreateDeployment.safeParse({ service: 'web', options: { configPath } }).success).toBe(false)
  })

  test.each(['a\u0000b', 'a\u001b[31mb', 'half \ud800 a pair'])(
    'I9: text that a database or a terminal would choke on is refused',
    (value) => {
      expect(text(100).safeParse(value).success).toBe(false)
    },
  )

  test('line breaks, tabs, accents and emoji are text', () => {
    expect(text(100).safeParse('one\ntwo\tthree é 🚢').success).toBe(true)
  })

  test.each(['web', 'a', 'web-2', '3d'])('%s is a name', (value) => expect(name.safeParse(value).success).toBe(true))
  test.each(['', '-web', 'web-', 'Web', 'w_b', 'wéb', 'a'.repeat(41), 'a.b', 'a/b'])('%j is no name', (value) =>
    expect(name.safeParse(value).success).toBe(false),
  )
  test('a service name begins with a letter, as in the configuration file', () => expect(serviceName.safeParse('3d').success).toBe(false))

  test.each(['-1', '1.5', '1e3', '', ' 1', '0x10', '99999999999999999999'])('%j is no number of a query', (value) =>
    expect(integer(0, 1000).safeParse(value).success).toBe(false),
  )

  test('a request without variables, or with too many, is refused', () => {
    expect(SetVariables.safeParse({ variables: {} }).success).toBe(false)
    const many = Object.fromEntries(Array.from({ length: 201 }, (_, n) => [`V${n}`, 'x']))
    expect(SetVariables.safeParse({ variables: many }).success).toBe(false)
  })
})
