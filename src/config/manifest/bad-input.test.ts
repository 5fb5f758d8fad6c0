import { describe, expect, it } from 'vitest'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { shiplockDialect } from '../dialects/shiplock.ts'
import type { ConfigProblem } from './problem.ts'

const parse = (text: string) => shiplockDialect.parse(text, 'shiplock.yaml')

function refusal(text: string): ShiplockError {
  try {
    parse(text)
  } catch (error) {
    if (error instanceof ShiplockError) return error
    throw error
  }
  throw new Error('was not refused')
}

function problemsOf(text: string): readonly ConfigProblem[] {
  return refusal(text).details.problems as readonly ConfigProblem[]
}

/** A service with this below `services.api`. */
const api = (yaml: string) => `services:\n  api:\n${yaml.replace(/^/gm, '    ')}\n`

describe('I9: what is no YAML that can be read', () => {
  it.each([
    [
      'a tab as indentation',
      'services:\n\tapi: {}\n',
      'shiplock.yaml:2:1: a tab is used as indentation, which YAML does not allow: use spaces',
    ],
    [
      'a key that stands twice',
      'services:\n  api: {}\n  api: {}\n',
      'shiplock.yaml:3:3: this key stands twice in the same section: keep one',
    ],
    ['a key that stands twice deeper down', api('run:\n  port: 1\n  port: 2'), 'shiplock.yaml:5:7: this key stands twice'],
    ['an open quote', 'services: "api', 'a character is missing'],
    ['several documents', 'services: {api: {}}\n---\nservices: {}\n', 'several YAML documents in one file'],
    ['a custom tag', 'services: !!js/function "x"\n', 'shiplock.yaml:1:11: YAML tags'],
    ['an alias without anchor', 'services: *nobody\n', 'nobody'],
    ['a NUL character', 'services:\n  api: {}\0\n', 'this is no text file'],
    ['nesting without end', '['.repeat(50_000), 'nested too deeply'],
    ['nesting that the parser still takes', `services: ${'{a: '.repeat(200)}1${'}'.repeat(200)}`, 'nested too deeply'],
  ])('refuses %s', (_, text, words) => {
    const error = refusal(text)
    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toContain(words)
  })

  it('I12: refuses aliases that multiply (a billion laughs) without building them', () => {
    const levels = Array.from({ length: 9 }, (_, i) => `x-${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`)
    const error = refusal(['x-0: &a0 [lol]', ...levels, 'services: { api: {} }'].join('\n'))
    expect(error.message).toContain('multiply without bound')
  })

  it.each([
    ['open brackets', '['.repeat(LIMITS.configBytes)],
    ['closed brackets', ']'.repeat(LIMITS.configBytes)],
    ['dashes', '- '.repeat(LIMITS.configBytes / 2)],
    ['question marks', '? '.repeat(LIMITS.configBytes / 2)],
    ['commas', `[${','.repeat(LIMITS.configBytes - 1)}`],
    ['different keys', Array.from({ length: 30_000 }, (_, i) => `k${i}: 1`).join('\n')],
    ['anchors', '&a '.repeat(LIMITS.configBytes / 3)],
  ])('I12: survives a file full of %s', (_, text) => {
    expect(refusal(text).code).toBe('CONFIG_INVALID')
  })

  it('I12: refuses merge keys that multiply', () => {
    const levels = Array.from({ length: 20 }, (_, i) => `x-${i + 1}: &a${i + 1} { l: *a${i}, r: *a${i} }`)
    expect(refusal(['x-0: &a0 { a: 1 }', ...levels, 'services: { api: { run: { <<: *a20 } } }'].join('\n')).code).toBe('CONFIG_INVALID')
  })

  it.each(['services: &s { api: { run: *s } }', 'services: { api: { run: { start: &s [*s, *s] } } }'])(
    'refuses an anchor that contains itself: %s',
    (text) => {
      expect(refusal(text).message).toContain('contains itself by an alias')
    },
  )

  it('I12: refuses more values than a configuration has any use for', () => {
    const many = Array.from({ length: LIMITS.configNodes }, (_, i) => `k${i}: {}`).join('\n')
    expect(refusal(api(many)).message).toContain('holds too much')
  })

  it('reads an empty file as one without services', () => {
    expect(refusal('').message).toBe('shiplock.yaml: services must be a map of service names')
    expect(refusal('# nothing\n').code).toBe('CONFIG_INVALID')
  })

  it.each(['just text', '- a\n- list', '42'])('refuses a file that is no map: %s', (text) => {
    expect(refusal(text).message).toContain('must be a map that begins with services:')
  })
})

describe('I9: unknown keys are refused with their place and the nearest known key', () => {
  it.each([
    ['servces: {}', 'servces', 'services', '1:1'],
    [api('biuld: {}'), 'services.api.biuld', 'build', '3:5'],
    [api('build: { buildCommand: x }'), 'services.api.build.buildCommand', 'buildCommands', '3:14'],
    [api('scan: { hihg: warn }'), 'services.api.scan.hihg', 'high', '3:13'],
    [api('scan: { waivers: [{ id: a, reason: b, expire: c }] }'), 'services.api.scan.waivers[0].expire', 'expires', '3:43'],
    [api('run:\n  prot: 1'), 'services.api.run.prot', 'port', '4:7'],
    [api('run: { healthCheck: { httpGet: { pth: / } } }'), 'services.api.run.healthCheck.httpGet.pth', 'path', '3:38'],
    [api('deploy: { readinesCheck: {} }'), 'services.api.deploy.readinesCheck', 'readinessCheck', '3:15'],
    [api('deploy: { readinessCheck: { tcp: {}, atempts: 2 } }'), 'services.api.deploy.readinessCheck.atempts', 'attempts', '3:42'],
    [api('trigger: { branches: main }'), 'services.api.trigger.branches', 'branch', '3:16'],
    [api('run: { environment: {} }'), 'services.api.run.environment', 'env', '3:12'],
    [api('run: { startCommands: [] }'), 'services.api.run.startCommands', 'start', '3:12'],
    [api('run: { replicas: 2 }'), 'services.api.run.replicas', 'instances', '3:12'],
  ])('%j', (text, path, near, place) => {
    const problem = problemsOf(text).find((each) => each.path === path)
    expect(problem?.message).toContain(`is an unknown key, did you mean ${near}? Allowed here: `)
    expect(`${problem?.position?.line}:${problem?.position?.column}`).toBe(place)
  })

  it('suggests nothing where nothing is near', () => {
    expect(refusal(api('run: { zzzzzz: 1 }')).message).toMatch(/is an unknown key\. Allowed here: base, os, /)
  })

  it('refuses __proto__ and constructor as keys instead of losing them', () => {
    expect(refusal(api('run: { __proto__: { port: 1 } }')).message).toContain('is not allowed as a key')
    expect(refusal(api('run: { constructor: 1 }')).message).toContain('is an unknown key')
    expect(refusal(api('run: { env: { __proto__: x } }')).message).toContain('is not allowed as a key')
    expect(({} as { port?: unknown }).port).toBeUndefined()
  })

  it('lets x- keys stand anywhere but in maps of names', () => {
    const { services } = parse(
      `x-common: &common { LOG: debug }\n${api('x-note: hi\nrun: { x-why: [1, {a: b}], env: { <<: *common, A: b } }')}  x-ray: {}\n`,
    )
    expect(services.map(({ name }) => name)).toEqual(['api', 'x-ray'])
    expect(services[0]?.input).toEqual({ run: { env: { LOG: 'debug', A: 'b' } } })
    expect(refusal(api('run: { env: { x-note: hi } }')).message).toContain('is no variable name')
  })
})

describe('I9: wrong values are refused with what is allowed', () => {
  it.each([
    ['run: { port: "8080" }', 'run.port', 'must be a whole number from 1 to 65535'],
    ['run: { port: 0 }', 'run.port', 'must be a whole number from 1 to 65535'],
    ['run: { port: 80.5 }', 'run.port', 'must be a whole number from 1 to 65535'],
    ['run: { instances: 11 }', 'run.instances', 'must be a whole number from 1 to 10'],
    ['run: { memoryMb: 512MB }', 'run.memoryMb', 'must be a whole number'],
    ['run: { cpu: huge }', 'run.cpu', 'must be one of shared-1x, shared-2x, performance-1x'],
    ['run: []', 'run', 'must be a section with keys'],
    ['run: { start: { a: b } }', 'run.start', 'must be a command or a list of them'],
    ['run: { start: [node a.js, 7] }', 'run.start[1]', 'must be a command (text)'],
    ['run: { start: "  " }', 'run.start', 'must be a command, not an empty text'],
    ['run: { start: "node\\0" }', 'run.start', 'without control characters'],
    ['run: { start: }', 'run.start', 'has no value'],
    ['run: { start: a, staticRoot: b }', 'run.staticRoot', "can't stand beside run.start"],
    ['run: { env: [A=b] }', 'run.env', 'must be a map of NAME: value'],
    ['run: { env: { A: [1] } }', 'run.env.A', 'must be a text, a number, or true or false'],
    ['run: { env: { A: } }', 'run.env.A', 'write "" for an empty value'],
    ['run: { env: { PORT: 3000 } }', 'run.env.PORT', 'is set by Shiplock; give run.port'],
    ['run: { env: { SHIPLOCK_SERVICE: x } }', 'run.env.SHIPLOCK_SERVICE', 'is reserved'],
    ['run: { env: { "A\\nB": x } }', 'run.env["A\\nB"]', 'is no variable name'],
    ['run: { env: { 1ST: x } }', 'run.env.1ST', 'is no variable name'],
    ['run: { env: { A: "x\\0y" } }', 'run.env.A', 'must not hold a NUL character'],
    ['run: { healthCheck: }', 'run.healthCheck', 'must have one of httpGet, exec or tcp'],
    ['run: { healthCheck: { httpGet: {}, tcp: {} } }', 'run.healthCheck.tcp', "can't stand beside httpGet"],
    ['run: { healthCheck: { httpGet: { path: healthz } } }', 'run.healthCheck.httpGet.path', 'must begin with /'],
    ['run: { healthCheck: { httpGet: { path: "/a b" } } }', 'run.healthCheck.httpGet.path', 'hold no spaces'],
    ['run: { healthCheck: { httpGet: { path: "/\\r\\nX: y" } } }', 'run.healthCheck.httpGet.path', 'without control characters'],
    ['run: { healthCheck: { httpGet: { host: "a b" } } }', 'run.healthCheck.httpGet.host', 'must be a host name'],
    ['run: { healthCheck: { httpGet: { scheme: ftp } } }', 'run.healthCheck.httpGet.scheme', 'must be one of http, https'],
    ['run: { healthCheck: { httpGet: { expectStatus: 999 } } }', 'run.healthCheck.httpGet.expectStatus', 'from 100 to 599'],
    ['run: { region: "../iad" }', 'run.region', 'must be a region'],
    ['build: { image: a, dockerfile: b }', 'build.dockerfile', "can't stand beside build.image"],
    ['build: { dockerfile: a, buildCommands: b }', 'build.buildCommands', "can't stand beside build.dockerfile"],
    ['build: { dockerfile: a, env: { A: b } }', 'build.env', 'a Dockerfile takes build.args'],
    ['build: { image: "--privileged" }', 'build.image', 'must be an image reference'],
    ['build: { dockerfile: ../Dockerfile }', 'build.dockerfile', 'must stay inside the source'],
    ['build: { dockerfile: /etc/passwd }', 'build.dockerfile', 'must be relative to the source'],
    ['build: { cache: [node_modules, a/../../b] }', 'build.cache[1]', 'must stay inside the source'],
    ['build: { deployFiles: ["a\\nb"] }', 'build.deployFiles[0]', 'on one line'],
    ['build: { timeout: 2h }', 'build.timeout', 'must be between 1s and 1h'],
    ['build: { timeout: soon }', 'build.timeout', 'must be a duration such as 500ms'],
    ['build: { timeout: -5 }', 'build.timeout', 'must be a duration'],
    ['build: { timeout: true }', 'build.timeout', 'must be a duration'],
    ['build: { base: "nodejs 22" }', 'build.base', 'must be a toolchain'],
    ['build: { target: --push }', 'build.target', 'must be the name of a build stage'],
    ['scan: no', 'scan', 'must be a section with keys, or off'],
    ['scan: { critical: maybe }', 'scan.critical', 'must be one of ignore, warn, block, block-new'],
    ['scan: { waivers: [{ id: CVE-1 }] }', 'scan.waivers[0].reason', 'must be the reason, in words'],
    ['scan: { waivers: [{ id: CVE-1, reason: r, expires: never }] }', 'scan.waivers[0].expires', 'must be a date'],
    ['deploy: { bake: forever }', 'deploy.bake', 'must be a duration'],
    ['deploy: { autoRollback: yes }', 'deploy.autoRollback', 'must be true or false'],
    ['deploy: { readinessCheck: { tcp: {}, attempts: 0 } }', 'deploy.readinessCheck.attempts', 'from 1 to 10'],
    ['deploy: { readinessCheck: { exec: node x } }', 'deploy.readinessCheck.exec', 'must be a section with command'],
    ['retention: -1', 'retention', 'must be a whole number from 1 to 100'],
    ['trigger: { branch: --upload-pack=x }', 'trigger.branch', 'must be a branch name'],
    ['trigger: { branch: "a\\nb" }', 'trigger.branch', 'on one line'],
    ['trigger: { queue: newest }', 'trigger.queue', 'must be one of every, latest'],
  ])('%s', (yaml, path, words) => {
    const problem = problemsOf(api(yaml)).find((each) => each.path === `services.api.${path}`)
    expect(problem?.message, refusal(api(yaml)).message).toContain(words)
    expect(problem?.position).not.toBeNull()
  })

  it.each(['Api', '-api', 'api-', '9lives', 'a_b', 'a'.repeat(41), 'api\nx', 'a.b', 'ä'])('refuses the service name %j', (name) => {
    expect(refusal(`services: { ${JSON.stringify(name)}: {} }`).message).toContain('is no service name')
  })

  it.each(['a', 'api', 'my-api-2', 'x-ray', 'a'.repeat(40)])('takes the service name %s', (name) => {
    expect(parse(`services: { ${name}: {} }`).services[0]?.name).toBe(name)
  })

  it('tells all problems of a file at once, in the order of the file', () => {
    const error = refusal(api('retention: 0\nrun:\n  prot: 1\n  instances: many\ndeploy: { bake: x }'))
    expect(error.message.split('\n')).toEqual([
      'shiplock.yaml has 4 problems:',
      expect.stringContaining('  shiplock.yaml:3:5: services.api.retention must be'),
      expect.stringContaining('  shiplock.yaml:5:7: services.api.run.prot is an unknown key'),
      expect.stringContaining('  shiplock.yaml:6:7: services.api.run.instances must be'),
      expect.stringContaining('  shiplock.yaml:7:15: services.api.deploy.bake must be'),
    ])
  })

  it('I12: shows a bounded number of problems', () => {
    const error = refusal(api(Array.from({ length: 500 }, (_, i) => `k${i}: 1`).join('\n')))
    expect(error.message.split('\n').length).toBe(LIMITS.configProblemsShown + 2)
    expect(error.message).toContain('… and 450 more')
  })

  it('I9: makes control characters of a file harmless before they reach a terminal', () => {
    const { message } = refusal(api('run: { "a\\e[2Jb\\nc": 1 }'))
    expect(message).toMatch(/^[\x20-\x7e\n\ufffd…]*$/)
    expect(message.split('\n')).toHaveLength(1)
  })
})

describe('values that look odd and are right', () => {
  const inputOf = (yaml: string) => parse(api(yaml)).services[0]?.input

  it('keeps variables as they are written', () => {
    expect(inputOf('run:\n  env: { A: 1.10, B: 007, C: true, D: 1e5, E: 12345678901234567890, F: "", G: no, H: ~x }')?.run?.env).toEqual({
      A: '1.10',
      B: '007',
      C: 'true',
      D: '1e5',
      E: '12345678901234567890',
      F: '',
      G: 'no',
      H: '~x',
    })
  })

  it('keeps newlines and quotes in variables', () => {
    expect(inputOf('run:\n  env:\n    KEY: |\n      -----BEGIN-----\n      "a" \'b\'\n')?.run?.env).toEqual({
      KEY: '-----BEGIN-----\n"a" \'b\'\n',
    })
  })

  it('reads an empty section as an empty section', () => {
    expect(inputOf('run:\nbuild:\ndeploy:')).toEqual({ run: {}, build: {}, deploy: {} })
    expect(parse('services:\n  api:\n').services[0]?.input).toEqual({})
  })

  it.each(['off', 'false'])('reads scan: %s', (word) => {
    expect(inputOf(`scan: ${word}`)?.scan).toBe(word === 'off' ? 'off' : false)
  })
})
