import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { CreateDeployment } from '../contract/deployment.ts'
import { SetVariables } from '../contract/server.ts'
import { ShiplockError } from '../core/errors.ts'
import { parseInput } from './parse-input.ts'

function refusalOf(schema: Parameters<typeof parseInput>[0], input: unknown): ShiplockError {
  try {
    parseInput(schema, input, 'body')
  } catch (error) {
    if (error instanceof ShiplockError) return error
    throw error
  }
  throw new Error('was not refused')
}

describe('parseInput', () => {
  test('I9: an unknown key is refused with its path and the key that was meant', () => {
    const error = refusalOf(CreateDeployment, { service: 'web', sauce: {} })
    expect(error.code).toBe('INPUT_INVALID')
    expect(error.message).toBe('body: unknown key sauce, did you mean source?')
  })

  test('keys are looked for inside nested objects and the options of a union', () => {
    expect(refusalOf(CreateDeployment, { service: 'web', options: { rebuld: true } }).message).toBe(
      'body.options: unknown key rebuld, did you mean rebuild?',
    )
    const source = { kind: 'git', url: 'https://example.com/a.git', reff: 'main' }
    expect(refusalOf(CreateDeployment, { service: 'web', source }).message).toBe('body.source: unknown key reff, did you mean ref?')
  })

  test('a key that resembles nothing gets no suggestion', () => {
    expect(refusalOf(CreateDeployment, { service: 'web', xylophone: 1 }).message).toBe('body: unknown key xylophone')
  })

  test('every wrong field is named, up to ten', () => {
    const error = refusalOf(CreateDeployment, { service: 'W', project: 3, environment: '' })
    expect((error.details.problems as unknown[]).length).toBeGreaterThanOrEqual(3)
    expect(error.message).toContain('body.service')
    expect(error.message).toContain('body.project')
  })

  test('I8: the value of a variable is never in a refusal', () => {
    const error = refusalOf(SetVariables, { variables: { TOKEN: `hunter2-hunter2\u0000` } })
    expect(JSON.stringify([error.message, error.details])).not.toContain('hunter2')
    expect(error.message).toContain('body.variables.TOKEN')
  })

  test('I9: keys from outside are shortened and made printable', () => {
    const error = refusalOf(CreateDeployment, { service: 'web', [`\u001b[2J${'x'.repeat(500)}`]: 1 })
    expect(error.message).not.toContain('\u001b')
    expect(error.message.length).toBeLessThan(200)
  })

  test('any JSON at all is parsed or refused, never anything else', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        try {
          parseInput(CreateDeployment, value, 'body')
        } catch (error) {
          expect(error).toBeInstanceOf(ShiplockError)
          expect((error as ShiplockError).code).toBe('INPUT_INVALID')
        }
      }),
    )
  })
})
