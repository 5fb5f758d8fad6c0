import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createRedactor, redactAll, redactLines } from './redact.ts'
import { secretForms } from './secret-forms.ts'

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

describe('I8: whatever the secrets and the text', () => {
  // Two letters make overlaps, and secrets within secrets, the rule.
  const narrow = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 6, maxLength: 12 })
  const secrets = fc.array(narrow, { minLength: 1, maxLength: 5 })

  test('a text is redacted as a naive search would', () => {
    const text = fc.string({ unit: fc.constantFrom('a', 'b', 'b', '\n', 'c'), maxLength: 200 })
    fc.assert(
      fc.property(secrets, text, (values, given) => {
        expect(createRedactor(values)(given)).toBe(naive(values, given))
      }),
    )
  })

  test('lines are redacted as the whole stream would be, wherever it is cut', () => {
    const lines = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', 'b', 'c'), maxLength: 30 }), { maxLength: 12 })
    fc.assert(
      fc.property(secrets, lines, (values, given) => {
        const redact = createRedactor(values)
        const isCovered = covered(values, given.join(''))
        let offset = 0
        const expected = given.map((line) => {
          const from = offset
          offset += line.length
          return starsOver(line, (at) => isCovered[from + at] === true)
        })
        // The last one ends every secret that has only begun.
        expect(redactLines([...given, 'c'], redact)).toEqual([...expected, 'c'])
      }),
    )
  })

  test('a line that is asked for before the next one came shows no telling part, and the rest goes when it comes', () => {
    const value = 'correct-horse-battery-staple'
    fc.assert(
      fc.property(fc.nat(value.length), (cut) => {
        const out: string[] = []
        const redactor = createRedactor([value]).lines()
        for (const line of [`password ${value.slice(0, cut)}`, `${value.slice(cut)} set`]) {
          redactor.push(line, (text) => void out.push(text))
          redactor.flush()
        }
        const shown = out.join('').replace('password ', '').replace(' set', '').replaceAll('*', '')
        expect(shown.length).toBeLessThan(value.length / 2)
        expect(out[1]).toBe(cut === value.length ? ' set' : '******** set')
      }),
    )
  })
})

test('I8: a long text that a program wraps is found in its base64 too', () => {
  const key = `-----BEGIN KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC'.repeat(8)}\n-----END KEY-----\n`
  const wrapped =
    Buffer.from(key)
      .toString('base64')
      .match(/.{1,76}/g) ?? []
  expect(redactLines(['data:', ...wrapped, 'end'], createRedactor([key]))).toEqual(['data:', ...wrapped.map(() => '********'), 'end'])
})

test('I12: the time grows with the text alone, however many secrets there are and however alike', () => {
  const alike = Array.from({ length: 300 }, (_, index) => `${'a'.repeat(200)}${index}`)
  const redact = createRedactor(alike)
  const cpuMs = (work: () => unknown) => {
    const before = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1000
  }
  const text = 'a'.repeat(200_000)
  redact(text)
  const once = cpuMs(() => redact(text))
  const eightTimes = cpuMs(() => redact(text.repeat(8)))
  // Ten times as long for eight times the text would still be linear; a search per secret and place takes thousands.
  expect(eightTimes).toBeLessThan(40 * (once + 5))
})

function covered(values: readonly string[], text: string): boolean[] {
  const marks = new Array<boolean>(text.length).fill(false)
  for (const form of values.flatMap((value) => secretForms(value))) {
    for (let at = text.indexOf(form); at !== -1; at = text.indexOf(form, at + 1)) marks.fill(true, at, at + form.length)
  }
  return marks
}

function naive(values: readonly string[], text: string): string {
  const plain = text.replaceAll('\n', '')
  const marks = covered(values, plain)
  let count = 0
  const places = [...text].map((unit) => (unit === '\n' ? null : count++))
  // A break counts as covered when what stands around it belongs to one secret; here it is enough that both sides are covered by one match.
  const joins = (at: number) => {
    const before = places.slice(0, at).findLast((place) => place !== null)
    if (before === undefined || before === null) return false
    return values
      .flatMap((value) => secretForms(value))
      .some((form) => {
        for (let found = plain.indexOf(form); found !== -1; found = plain.indexOf(form, found + 1))
          if (found <= before && found + form.length > before + 1) return true
        return false
      })
  }
  return starsOver(text, (at) => {
    const place = places[at]
    return place === null || place === undefined ? joins(at) : marks[place] === true
  })
}

function starsOver(text: string, isCovered: (at: number) => boolean): string {
  let out = ''
  for (let at = 0; at < text.length; at++) {
    if (!isCovered(at)) out += text[at]
    else if (at === 0 || !isCovered(at - 1)) out += '********'
  }
  return out
}
