// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { escapeReferences, resolveVariables } from './variables.ts'

const BUILTINS = { SHIPLOCK_PROJECT: 'acme', SHIPLOCK_SERVICE: 'api' }

function resolve(...layers: Record<string, string>[]) {
  const names = ['project', 'environment', 'service', 'file']
  return resolveVariables({ layers: layers.map((values, index) => ({ name: names[index] ?? 'more', values })), builtins: BUILTINS })
}

function refusal(...layers: Record<string, string>[]): ShiplockError {
  try {
    resolve(...layers)
  } catch (error) {
    if (error instanceof ShiplockError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('layers', () => {
  it('lets a later layer win and says which layer each variable came from', () => {
    const { env, layerOf } = resolve({ A: 'project', B: 'project' }, { B: 'environment' }, { C: 'service' }, { C: 'file' })
    expect(env).toEqual({ A: 'project', B: 'environment', C: 'file', ...BUILTINS })
    expect(layerOf).toEqual({ A: 'project', B: 'environment', C: 'file', SHIPLOCK_PROJECT: 'shiplock', SHIPLOCK_SERVICE: 'shiplock' })
  })

  it('returns names in order whatever the order of the input', () => {
    expect(Object.keys(resolve({ Z: '1', A: '2', M: '3' }).env)).toEqual(['A', 'M', 'SHIPLOCK_PROJECT', 'SHIPLOCK_SERVICE', 'Z'])
  })

  it('resolves a reference against the value that won, not the one of its own layer', () => {
    expect(resolve({ HOST: 'old', URL: 'http://${HOST}/' }, {}, { HOST: 'new' }).env.URL).toBe('http://new/')
  })

  it.each(['PORT', 'SHIPLOCK_PROJECT', 'shiplock_token', '1ST', 'WITH-DASH', 'new\nline', '', '__proto__'])(
    'I9: refuses the name %j in any layer',
    (name) => {
      expect(refusal({}, Object.fromEntries([[name, 'x']])).code).toBe('INPUT_INVALID')
    },
  )
})

describe('references', () => {
  it('resolves references to references and to what Shiplock sets', () => {
    const { env } = resolve({ A: '<${B}>', B: '[${C}${C}]', C: '${SHIPLOCK_PROJECT}' })
    expect(env).toMatchObject({ A: '<[acmeacme]>', B: '[acmeacme]', C: 'acme' })
  })

  it('keeps newlines, quotes and dollar signs of a value as they are', () => {
    const value = 'line one\n"two" \'three\' pa$$word $HOME $1 $& `x`'
    expect(resolve({ A: value, B: '${A}' }).env).toMatchObject({ A: value, B: value })
  })

  it('takes $${ and \\${ as the text ${', () => {
    expect(resolve({ A: '$${B}', B: '\\${A}', C: '$$${A}' }).env).toMatchObject({ A: '${B}', B: '${A}', C: '$${A}' })
  })

  it('does not look for references in what a reference resolved to', () => {
    expect(resolve({ A: '${B}', B: '$${C}' }).env.A).toBe('${C}')
  })

  it('I8: says what each value was made from, through any number of steps, so that secrets stay secret', () => {
    const { uses, usedBy } = resolve({ URL: 'postgres://${LOGIN}@db', LOGIN: 'me:${PASSWORD}', PASSWORD: 'x', OTHER: 'y' })
    expect(uses).toEqual({ URL: ['LOGIN', 'PASSWORD'], LOGIN: ['PASSWORD'] })
    expect(usedBy).toEqual({ LOGIN: ['URL'], PASSWORD: ['LOGIN', 'URL'] })
  })
})

describe('refusals', () => {
  it('names the variable and the reference that is not set', () => {
    const error = refusal({ DATABASE_URL: 'postgres://${db_user}:secret@host' })
    expect(error.code).toBe('VARIABLE_UNRESOLVED')
    expect(error.message).toBe(
      'the variable DATABASE_URL refers to ${db_user}, which is not set in this project, environment, service or configuration file',
    )
    expect(error.details).toEqual({ variable: 'DATABASE_URL', reference: 'db_user' })
  })

  it.each([
    ['a variable that refers to itself', { A: 'x${A}' }, 'the variable A refers to itself by ${A}'],
    ['a circle', { A: '${B}', B: '${C}', C: '${A}' }, 'A → B → C → A'],
    ['a circle that the first variable is not part of', { A: '${B}', B: '${C}', C: '${B}' }, 'B → C → B'],
    ['a default value as in a shell', { A: '${B:-x}', B: '1' }, 'which is no variable name'],
    ['an empty reference', { A: '${}' }, 'which is no variable name'],
    ['an opening without end', { A: 'x${B' }, 'without its `}`'],
    ['PORT', { A: '${PORT}' }, 'known only when an instance starts'],
    ['an unknown name of ours', { A: '${SHIPLOCK_COLOUR}' }, 'which Shiplock does not set'],
    ['a reference with control characters', { A: '${B\u001b[2J}' }, 'which is no variable name'],
  ])('refuses %s', (_, layer, words) => {
    const error = refusal(layer as Record<string, string>)
    expect(error.code).toBe('VARIABLE_UNRESOLVED')
    expect(error.message).toContain(words)
    expect(error.message).not.toContain('\u001b')
  })

  it('tells all references that lead nowhere at once, circles once', () => {
    const error = refusal({ A: '${X} ${Y}', B: '${A}', C: '${D}', D: '${C}', E: '${Z' })
    expect(error.message.split('\n')).toEqual([
      'the variable A refers to ${X}, which is not set in this project, environment, service or configuration file',
      'the variable D refers to itself in a circle: C → D → C',
      'the variable E has a `${` without its `}`; write `$${` for the text itself',
    ])
    expect(error.details.variables).toEqual(['A', 'D', 'E'])
  })

  it('says how a value holds the text itself', () => {
    expect(refusal({ A: '${X}' }).hint).toContain('write $${X} (`--literal`')
  })

  it('I12: variables that no program can be started with are refused with their size', () => {
    const many = Object.fromEntries(Array.from({ length: 48 }, (_, n) => [`V${n}`, 'x'.repeat(60_000)]))
    expect(() => resolve(many)).toThrow('the variables have 2.7 MiB together, more than 1 MiB')
  })

  it('I8: never repeats a value', () => {
    const message = refusal({ A: 'hunter2 ${NOT_SET}', B: 'hunter2${B}' }).message
    expect(message).not.toContain('hunter2')
  })

  it('I12: ends a value that doubles at every level before it fills the memory', () => {
    const doubling = Object.fromEntries(Array.from({ length: 60 }, (_, i) => [`V${i}`, i === 59 ? 'xx' : `\${V${i + 1}}\${V${i + 1}}`]))
    expect(refusal(doubling).message).toContain(`longer than ${LIMITS.variableValueBytes} bytes`)
  })

  it('resolves a chain as long as the number of variables allowed', () => {
    const chain = Object.fromEntries(
      Array.from({ length: LIMITS.variables }, (_, i) => [`V${i}`, i === LIMITS.variables - 1 ? 'end' : `\${V${i + 1}}`]),
    )
    expect(resolve(chain).env.V0).toBe('end')
  })
})

describe('properties', () => {
  const name = fc.constantFrom('A', 'B', 'C', 'D', 'E')
  const text = fc.string({ unit: fc.constantFrom('$', '{', '}', '\\', 'A', 'x', '\n', '"') })

  it('gives back any text that was escaped', () => {
    fc.assert(
      fc.property(text, (value) => {
        expect(resolve({ A: escapeReferences(value) }).env.A).toBe(value)
      }),
    )
  })

  it('agrees with substitution by hand wherever references only go forward', () => {
    const piece = fc.oneof(fc.constantFrom('x', 'y', '-'), fc.nat(4))
    fc.assert(
      fc.property(fc.array(fc.array(piece, { maxLength: 4 }), { minLength: 5, maxLength: 5 }), (rows) => {
        const forward = rows.map((row, at) => row.filter((part) => typeof part === 'string' || part > at))
        const slow = (at: number): string => (forward[at] ?? []).map((part) => (typeof part === 'string' ? part : slow(part))).join('')
        const layer = Object.fromEntries(
          forward.map((row, at) => [`V${at}`, row.map((part) => (typeof part === 'string' ? part : `\${V${part}}`)).join('')]),
        )
        const { env } = resolve(layer)
        for (const at of rows.keys()) expect(env[`V${at}`]).toBe(slow(at))
      }),
    )
  })

  it('either resolves everything or refuses; never hangs, never leaves a reference that was meant', () => {
    fc.assert(
      fc.property(
        fc.dictionary(
          name,
          fc
            .array(
              fc.oneof(
                name.map((n) => `\${${n}}`),
                fc.constant('x'),
              ),
            )
            .map((p) => p.join('')),
        ),
        (layer) => {
          try {
            for (const value of Object.values(resolve(layer).env)) expect(value).not.toContain('${')
          } catch (error) {
            expect(error).toMatchObject({ code: 'VARIABLE_UNRESOLVED' })
          }
        },
      ),
    )
  })

  it('does not depend on the order of the keys', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray(['A', 'B', 'C', 'D'], { minLength: 4 }), (order) => {
        const values: Record<string, string> = { A: '${B}${C}', B: '${C}', C: 'c${D}', D: 'd' }
        const { env } = resolve(Object.fromEntries(order.map((key) => [key, values[key] ?? ''])))
        expect(env).toMatchObject({ A: 'cdcd', B: 'cd', C: 'cd', D: 'd' })
      }),
    )
  })
})
