import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { ShiplockError } from '../../core/errors.ts'
import { buildService } from '../build-service.ts'
import { DEFAULTS } from '../defaults.ts'
import type { ServiceInput } from '../manifest/schema.ts'
import { DIALECTS } from './dialects.ts'
import { shiplockDialect } from './shiplock.ts'

/** Values that are right for some key and wrong for most. */
const value = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    '',
    'a',
    './x',
    '/x',
    '../x',
    '30s',
    'main',
    'off',
    'nodejs@22',
    'block',
    0,
    1,
    8080,
    1.5,
    -1,
  ),
  fc.string({ maxLength: 8 }),
)
const keys = [
  'services zerops setup extends server name build run deploy scan trigger retention dockerfile image base os buildCommands deployFiles cache',
  'timeout env envVariables args start startCommands command staticRoot port ports instances cpu memoryMb region healthCheck readinessCheck',
  'httpGet exec tcp path host failureTimeout bake autoRollback branch watch queue high waivers id reason x-note PORT A __proto__ constructor',
]
const key = fc.constantFrom(...keys.join(' ').split(' '))
const { tree } = fc.letrec((tie) => ({
  tree: fc.oneof({ maxDepth: 5, withCrossShrink: true }, value, fc.array(tie('tree'), { maxLength: 3 }), tie('map')),
  map: fc.array(fc.tuple(key, tie('tree')), { maxLength: 4 }).map((entries) => new Map(entries)),
}))

/** Legal services, so that most of them pass whole. */
const command = fc.constantFrom('node a.js', 'make\nmake test', 'echo "quoted" \'too\' $HOME')
const duration = fc.oneof(
  fc.integer({ min: 1, max: 1800 }),
  fc.constantFrom('500ms', '30s', '15m', '1h').filter((text) => text !== '500ms'),
)
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const legalService: fc.Arbitrary<ServiceInput> = fc
  .record({
    build: fc.constantFrom<ServiceInput['build']>({ buildCommands: 'make' }, { image: 'a/b:1' }, { dockerfile: 'D', args: { A: '1' } }),
    run: fc.record({
      start: optional(fc.oneof(command, fc.array(command, { maxLength: 3 }))),
      port: optional(fc.integer({ min: 1, max: 65_535 })),
      instances: optional(fc.integer({ min: 1, max: 10 })),
      env: optional(fc.dictionary(fc.stringMatching(/^[A-OQ-RT-Z_][A-Z0-9_]{0,6}$/), fc.string({ unit: 'grapheme', maxLength: 12 }))),
    }),
    deploy: optional(fc.record({ bake: optional(duration), standby: optional(duration), autoRollback: optional(fc.boolean()) })),
    retention: optional(fc.integer({ min: 1, max: 100 })),
  })
  .map((service) => JSON.parse(JSON.stringify(service)) as ServiceInput)

describe('any input', () => {
  it.each(DIALECTS.map((dialect) => [dialect.name, dialect] as const))(
    'I9: %s takes a file or refuses it by CONFIG_INVALID; nothing else',
    (_, dialect) => {
      fc.assert(
        fc.property(
          fc.oneof(
            tree.map((data) => stringify(data)),
            fc.string({ unit: 'binary', maxLength: 60 }),
          ),
          (text) => {
            try {
              for (const service of dialect.parse(text, 'file').services) {
                const { config } = buildService(service.name, service.input, () => 'file')
                expect(Object.isFrozen(config)).toBe(true)
              }
            } catch (error) {
              if (!(error instanceof ShiplockError)) throw error
              expect(error.code).toBe('CONFIG_INVALID')
              expect(error.message).toMatch(/^file/)
            }
          },
        ),
        { numRuns: 500 },
      )
    },
  )

  it('a legal service comes back from its file as it was written, and resolves with defaults for the rest', () => {
    fc.assert(
      fc.property(legalService, (input) => {
        const services = shiplockDialect.parse(stringify({ services: { api: input } }), 'file').services
        expect(services[0]?.input).toEqual(input)
        const { config, explanation } = buildService('api', input, () => 'file')
        expect(config.run.env).toEqual(input.run?.env ?? {})
        expect(config.run.instances).toBe(input.run?.instances ?? DEFAULTS.run.instances)
        expect(config.run.startCommands).toEqual([input.run?.start ?? []].flat())
        expect(config.retention).toBe(input.retention ?? DEFAULTS.retention)
        const given = explanation.filter(({ source }) => source === 'file').map(({ path }) => path)
        expect(given.includes('retention')).toBe(input.retention !== undefined)
        expect(given.includes('deploy.bake')).toBe(input.deploy?.bake !== undefined)
      }),
      { numRuns: 300 },
    )
  })

  it('the order of the keys does not matter', () => {
    fc.assert(
      fc.property(legalService, (input) => {
        const turned = Object.fromEntries(Object.entries(input).reverse())
        const resolve = (service: ServiceInput) => buildService('api', service, () => '').config
        expect(resolve(turned)).toEqual(resolve(input))
      }),
    )
  })
})
