// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { audit } from '../support/audit.ts'
import { eventually } from '../support/eventually.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

const ROOT = join(import.meta.dirname, '../..')

/**
 * Every misuse that the documentation of build-and-run platforms warns about, and the test that covers it closest to the code. Below, each
 * is also deployed to a real server, where it must fail early, say what is wrong, and leave what serves alone.
 */
const COVERED_BY: readonly (readonly [misuse: string, file: string, title: string])[] = [
  ['tilde and start path that disagree', 'src/builders/recipe/start-file.test.ts', 'the classic tilde mistake is refused with both paths'],
  ['deployFiles that match nothing', 'src/builders/recipe/deploy-files.test.ts', 'patterns that match nothing are named'],
  ['an empty artifact', 'test/conformance/builder.test.ts', 'a build that leaves nothing to deploy says what there is'],
  ['a cache path outside the source', 'src/config/manifest/bad-input.test.ts', 'cache: [node_modules, a/../../b]'],
  ['an unresolved variable reference', 'src/config/variables.test.ts', 'names the variable and the reference that is not set'],
  ['a recursive variable reference', 'src/config/variables.test.ts', "['a circle'"],
  ['a self-reference', 'src/config/variables.test.ts', 'a variable that refers to itself'],
  ['commands that need a tool that the base lacks', 'src/builders/recipe/failure-cause.test.ts', '/bin/sh: 1: vite: not found'],
  ['a base that the host lacks', 'test/conformance/builder.test.ts', 'a base that the host lacks is refused with what it has'],
  ['an init command that fails', 'test/e2e/story-start.test.ts', 'with initFailure: fail it fails the deployment'],
  ['an init command that hangs', 'test/e2e/story-start.test.ts', 'an init command that hangs is bounded by failureTimeout'],
  ['readiness: redirect to another host', 'test/e2e/probes.test.ts', 'a redirect to another host'],
  ['readiness: redirects for ever', 'test/e2e/probes.test.ts', 'redirects for ever'],
  ['readiness: 500', 'test/e2e/probes.test.ts', '500, with its words'],
  ['readiness: slow, or no answer', 'test/e2e/probes.test.ts', 'says that no answer came in its time, and that nobody listens'],
  ['two setups with one name', 'src/config/dialects/zerops.test.ts', 'zerops[1].setup stands twice'],
  ['an unknown setup', 'src/config/resolve.test.ts', 'has no service wroker'],
  ['extends of an unknown setup', 'src/config/dialects/zerops.test.ts', 'which is no setup of this file, did you mean base?'],
  ['YAML bombs', 'src/config/manifest/bad-input.test.ts', 'refuses aliases that multiply (a billion laughs) without building them'],
  ['tabs', 'src/config/manifest/bad-input.test.ts', 'a tab as indentation'],
  ['duplicate keys', 'src/config/manifest/bad-input.test.ts', 'a key that stands twice'],
]

test.each(COVERED_BY)('%s: its test is where the table says', (_misuse, file, title) => {
  expect(readFileSync(join(ROOT, file), 'utf8')).toContain(title)
})

const SERVICE = 'misuse'
const setup = (yaml: string) => `zerops:\n  - setup: ${SERVICE}\n${yaml.replace(/^(?=.)/gm, '    ')}\n`
const bomb = ['x-0: &a0 [lol]', ...Array.from({ length: 9 }, (_, n) => `x-${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(', ')}]`)]
const readiness = (script: string) =>
  setup(
    `build: { deployFiles: ./ }\ndeploy: { readinessCheck: { httpGet: { path: / }, failureTimeout: 1, retryPeriod: 1 } }\nrun: { start: ${JSON.stringify(`node -e "${script}"`)} }`,
  )
const answering = (answer: string) =>
  readiness(`require('http').createServer((q, r) => { ${answer} }).listen(process.env.PORT, '127.0.0.1')`)

describe('deployed to a real server', () => {
  let world: StoryWorld
  let repo: StoryRepo
  beforeAll(async () => {
    world = await StoryWorld.begin()
    repo = await world.serving(SERVICE)
    repo.git('rm', '--quiet', 'shiplock.yaml')
  })
  afterAll(() => StoryWorld.endAll())

  test.each<[string, string, { code: string; words: RegExp }]>([
    [
      'tilde and start path that disagree',
      setup(
        'build: { buildCommands: [mkdir -p dist && cp app.mjs dist/server.js], deployFiles: dist/~ }\nrun: { start: node dist/server.js }',
      ),
      { code: 'START_FILE_MISSING', words: /dist\/server\.js/ },
    ],
    [
      'deployFiles that match nothing',
      setup('build: { buildCommands: "true", deployFiles: [buid] }\nrun: { start: node app.mjs }'),
      { code: 'BUILD_EMPTY', words: /buid/ },
    ],
    [
      'a cache path outside the source',
      setup('build: { buildCommands: "true", deployFiles: ./, cache: ../../etc }\nrun: { start: node app.mjs }'),
      { code: 'CONFIG_INVALID', words: /build\.cache.*must stay inside the source/ },
    ],
    [
      'an unresolved reference',
      setup('build: { deployFiles: ./ }\nrun: { start: node app.mjs, envVariables: { A: "${nobody_set}" } }'),
      { code: 'VARIABLE_UNRESOLVED', words: /A.*nobody_set/ },
    ],
    [
      'a recursive reference',
      setup('build: { deployFiles: ./ }\nrun: { start: node app.mjs, envVariables: { A: "${B}", B: "${A}" } }'),
      { code: 'VARIABLE_UNRESOLVED', words: /A → B → A/ },
    ],
    [
      'a reference to itself',
      setup('build: { deployFiles: ./ }\nrun: { start: node app.mjs, envVariables: { A: "x${A}" } }'),
      { code: 'VARIABLE_UNRESOLVED', words: /A refers to itself/ },
    ],
    [
      'a tool that the base lacks',
      setup('build: { base: nodejs, buildCommands: [no-such-tool --version], deployFiles: ./ }\nrun: { start: node app.mjs }'),
      { code: 'BUILD_FAILED', words: /no-such-tool/ },
    ],
    [
      'a base that the host lacks',
      setup('build: { base: cobol@85, buildCommands: "true", deployFiles: ./ }\nrun: { start: node app.mjs }'),
      { code: 'BASE_UNAVAILABLE', words: /cobol/ },
    ],
    [
      'an init command that may not fail',
      `services:\n  ${SERVICE}:\n    build: { deployFiles: ./ }\n    run: { start: node app.mjs, initCommands: [exit 9], initFailure: fail }\n`,
      { code: 'LAUNCH_FAILED', words: /init command 1 exited with 9/ },
    ],
    [
      'readiness that is sent to another host',
      answering("r.writeHead(302, { location: 'https://login.example/' }).end()"),
      { code: 'NOT_READY', words: /HTTP 302 to another host: login\.example/ },
    ],
    [
      'readiness that is sent round for ever',
      answering("r.writeHead(302, { location: '/' }).end()"),
      { code: 'NOT_READY', words: /more than 5 redirects/ },
    ],
    ['readiness that answers 500', answering("r.writeHead(500).end('no such table')"), { code: 'NOT_READY', words: /HTTP 500/ }],
    ['readiness that never answers', answering(''), { code: 'NOT_READY', words: /no answer in \d+ ms/ }],
    [
      'two setups with one name',
      `${setup('run: { start: node app.mjs }')}  - setup: ${SERVICE}\n    run: { start: node app.mjs }\n`,
      { code: 'CONFIG_INVALID', words: /zerops\[1\]\.setup stands twice/ },
    ],
    [
      'an unknown setup',
      setup('run: { start: node app.mjs }').replace(SERVICE, 'misuze'),
      { code: 'CONFIG_INVALID', words: /no service misuse.*misuze/ },
    ],
    ['a YAML bomb', [...bomb, 'zerops: *a9'].join('\n'), { code: 'CONFIG_INVALID', words: /multiply without bound/ }],
    ['a tab', `zerops:\n\t- setup: ${SERVICE}\n`, { code: 'CONFIG_INVALID', words: /a tab is used as indentation/ }],
    ['a duplicate key', setup('run: { start: a, start: b }'), { code: 'CONFIG_INVALID', words: /this key stands twice/ }],
  ])('%s fails early, by its name, and what serves goes on', async (name, text, expected) => {
    const { server } = world
    const isNative = text.startsWith('services:')
    repo.commitFiles(name, { [isNative ? 'shiplock.yaml' : 'zerops.yml']: text })
    const { id } = await server.deploy({ service: SERVICE, source: repo.source })
    const { status, error, statusReason } = await server.settled(id)
    if (isNative) repo.git('rm', '--quiet', 'shiplock.yaml')
    expect({ status, code: error?.code }, error?.message).toEqual({ status: 'failed', code: expected.code })
    expect(`${error?.message}\n${error?.logTail.join('\n')}`).toMatch(expected.words)
    expect(error?.hint).not.toBe('')
    expect(statusReason.split('\n')).toHaveLength(1)
    expect((await server.ask(SERVICE, '/')).body).toBe('v1')
  })

  test('I5: nothing is left of all that', async () => {
    await eventually(async () => expect(await audit(world.server, world.collector)).toEqual([]), { withinMs: 30_000 })
  })
})
