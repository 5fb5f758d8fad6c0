import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRedactor, redactAll } from './redact.ts'

const secret = fc.string({ minLength: 6, maxLength: 40 }).filter((text) => text.trim().length >= 6 && !text.includes('*'))
const around = fc.string({ maxLength: 30 })

describe('I8: no secret survives in a line', () => {
  test('as it is, base64, base64url, percent-encoded or within JSON, wherever it stands', () => {
    fc.assert(
      fc.property(fc.array(secret, { minLength: 1, maxLength: 4 }), around, around, (secrets, before, after) => {
        const redact = createRedactor(secrets)
        for (const one of secrets.map((text) => text.trim())) {
          const forms = [
            one,
            encodeURIComponent(one),
            encodeURIComponent(one).replace(/%../g, (octet) => octet.toLowerCase()),
            new URLSearchParams({ '': one }).toString().slice(1),
            Buffer.from(one).toString('base64'),
            Buffer.from(one).toString('base64url'),
            JSON.stringify(one).slice(1, -1),
          ]
          for (const form of forms) expect(redact(`${before}${form}${after}`)).not.toContain(form)
        }
      }),
    )
  })

  test('nor as part of a longer base64 text, as in a Basic authorization header', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z]{0,5}$/), fc.stringMatching(/^[A-Za-z0-9]{9,30}$/), (user, password) => {
        const header = Buffer.from(`${user}:${password}`).toString('base64')
        const redacted = createRedactor([password])(`authorization: Basic ${header}`)
        const left = Buffer.from(redacted.replace('authorization: Basic ', '').split('*')[0] ?? '', 'base64').toString()
        expect(redacted).not.toContain(header)
        expect(left).not.toContain(password.slice(0, 3))
      }),
    )
  })

  test('nor do the lines of one that has several', () => {
    const key = '-----BEGIN KEY-----\nMIIEvQIBADANBg\r\nkqhkiG9w0BAQEF\n-----END KEY-----'
    const redact = createRedactor([key])
    for (const line of key.split(/\r?\n/)) expect(redact(`> ${line} <`)).toBe('> ******** <')
  })

  test('nor the rest of a longer one of which a shorter one is a part', () => {
    expect(createRedactor(['hunter', 'hunter2-and-more'])('x hunter2-and-more x hunter x')).toBe('x ******** x ******** x')
  })
})

test('short values stay, because they would turn ordinary words into stars', () => {
  expect(createRedactor(['on', '', '12345'])('on and on, 12345')).toBe('on and on, 12345')
})

test('without secrets a line is the same line', () => {
  fc.assert(
    fc.property(fc.string(), (line) => {
      expect(createRedactor([])(line)).toBe(line)
    }),
  )
})

test('in plain data every string is redacted, and nothing else changes', () => {
  const redact = createRedactor(['hunter2x'])
  const data = { text: 'is hunter2x', list: ['hunter2x', 1, null, { deep: 'a hunter2x' }], flag: true, none: null, count: 7 }
  expect(redactAll(data, redact)).toEqual({
    text: 'is ********',
    list: ['********', 1, null, { deep: 'a ********' }],
    flag: true,
    none: null,
    count: 7,
  })
})
