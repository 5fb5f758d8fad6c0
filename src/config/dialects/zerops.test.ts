// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { describe, expect, it } from 'vitest'
import type { ShiplockError } from '../../core/errors.ts'
import { buildService } from '../build-service.ts'
import { zeropsDialect } from './zerops.ts'

const parse = (text: string) => zeropsDialect.parse(text, 'zerops.yml').services

function config(text: string, name = 'api') {
  const service = parse(text).find((each) => each.name === name)
  if (service === undefined) throw new Error(`no service ${name}`)
  return buildService(service.name, service.input, () => '').config
}

function message(text: string): string {
  try {
    parse(text)
  } catch (error) {
    return (error as ShiplockError).message
  }
  throw new Error('was not refused')
}

const FULL = `
zerops:
  - setup: api
    build:
      base: [nodejs@22]
      os: ubuntu
      prepareCommands:
        - sudo apt-get install -y jq
      buildCommands:
        - npm ci
        - |
          npm run build
          npm test
      deployFiles: [dist/~, ./node_modules, package.json]
      cache: node_modules
      addToRunPrepare: setup.sh
      envVariables: { NODE_ENV: production, VERSION: 1.10 }
    deploy:
      temporaryShutdown: true
      readinessCheck:
        httpGet: { port: 3000, path: /status, host: my.host, scheme: https }
        failureTimeout: 60
        retryPeriod: 10
    run:
      base: nodejs@22
      os: alpine
      ports:
        - { port: 9229 }
        - { port: 3000, httpSupport: true }
      prepareCommands: [sh setup.sh]
      initCommands: [rm -rf cache]
      start: node dist/server.js
      envVariables: { DB: '\${db_password}', PORT: 3000 }
      healthCheck:
        exec: { command: curl localhost }
        failureTimeout: 90
        execPeriod: 7
`

describe('zerops.yml is read as it is', () => {
  it('carries every key over', () => {
    expect(config(FULL)).toMatchObject({
      name: 'api',
      build: {
        kind: 'recipe',
        base: ['nodejs@22'],
        os: 'ubuntu',
        prepareCommands: ['sudo apt-get install -y jq'],
        buildCommands: ['npm ci', 'npm run build\nnpm test\n'],
        deployFiles: ['dist/~', './node_modules', 'package.json'],
        cache: ['node_modules'],
        addToRunPrepare: ['setup.sh'],
        env: { NODE_ENV: 'production', VERSION: '1.10' },
      },
      deploy: {
        temporaryShutdown: true,
        readinessCheck: {
          probe: { kind: 'httpGet', port: 3000, path: '/status', host: 'my.host', scheme: 'https', expectStatus: null },
          failureTimeoutMs: 60_000,
          retryPeriodMs: 10_000,
        },
      },
      run: {
        base: 'nodejs@22',
        os: 'alpine',
        port: 3000,
        prepareCommands: ['sh setup.sh'],
        initCommands: ['rm -rf cache'],
        startCommands: ['node dist/server.js'],
        env: { DB: '${db_password}' },
        healthCheck: { probe: { kind: 'exec', command: 'curl localhost' }, failureTimeoutMs: 90_000, periodMs: 7000 },
      },
    })
  })

  it('says what it did in another way', () => {
    expect(parse(FULL)[0]?.notes).toEqual([
      'run.ports: only port 3000 is reached from outside; 9229 stays inside the instance',
      'run.envVariables.PORT is left out: it is set to 3000 anyway',
    ])
    const cached = parse('zerops: [{ setup: api, build: { cache: true }, run: { start: a } }]')[0]
    expect(cached?.notes).toEqual([expect.stringContaining('build.cache: true')])
    expect(cached?.input.build?.cache).toBeUndefined()
  })

  it('knows the place of every value under its native name', () => {
    const service = parse(FULL)[0]
    const line = (path: string) => service?.locate(path)?.line
    expect([line('build.env.VERSION'), line('run.port'), line('run.start'), line('run.env.DB'), line('deploy.readinessCheck')]).toEqual([
      17, 27, 32, 33, 20,
    ])
    expect(line('deploy.bake')).toBeUndefined()
  })

  it('runs several start commands, each in its directory, their init commands before', () => {
    const { run } = config(`
zerops:
  - setup: api
    run:
      initCommands: [one]
      startCommands:
        - { command: npm run web, name: web }
        - { command: litestream replicate, workingDir: "it's here", initCommands: [two, three] }
`)
    expect(run.startCommands).toEqual(['npm run web', "cd 'it'\\''s here' && litestream replicate"])
    expect(run.initCommands).toEqual(['one', 'two', 'three'])
  })

  it.each([
    ['{ base: static }', '.'],
    ['{ base: nginx@1.22, documentRoot: public }', 'public'],
  ])('serves files for run: %s', (run, staticRoot) => {
    expect(config(`zerops: [{ setup: api, build: { deployFiles: dist/~ }, run: ${run} }]`).run).toMatchObject({
      staticRoot,
      base: null,
      startCommands: [],
    })
  })

  it('routing becomes the rules of the site; every path shows index.html, as it does there', () => {
    const routing = `{ cors: "'*' always", redirects: [{ from: /old/*, to: 'https://new.example', preservePath: true, status: 301 }, { from: /a, to: /b }],
      headers: [{ for: '/*', values: { X-Frame-Options: "'DENY'" } }] }`
    expect(config(`zerops: [{ setup: api, build: { deployFiles: dist/~ }, run: { base: static, routing: ${routing} } }]`).run.site).toEqual(
      {
        singlePage: true,
        redirects: [
          { from: '/old/*', to: 'https://new.example/:splat', status: 301, force: true },
          { from: '/a', to: '/b', status: 200, force: true },
        ],
        headers: [
          { for: '/*', values: { 'Access-Control-Allow-Origin': '*' } },
          { for: '/*', values: { 'X-Frame-Options': 'DENY' } },
        ],
      },
    )
  })
})

describe('extends', () => {
  const INHERITED = `
zerops:
  - setup: base
    build: { buildCommands: [make], deployFiles: ./dist }
    run: { start: npm start, envVariables: { A: base } }
  - setup: extra
    run: { memoryless: 1 }
  - setup: prod
    extends: base
    run: { envVariables: { B: prod } }
`.replace('    run: { memoryless: 1 }\n', '    run: { os: ubuntu, start: extra start }\n')

  it('merges section by section; a later key wins as a whole', () => {
    const { build, run } = config(INHERITED, 'prod')
    expect(build).toMatchObject({ buildCommands: ['make'], deployFiles: ['./dist'] })
    expect(run).toMatchObject({ startCommands: ['npm start'], env: { B: 'prod' } })
  })

  it('takes a list, where the last one wins', () => {
    const { run } = config(`${INHERITED}  - setup: api\n    extends: [base, extra]\n`)
    expect(run).toMatchObject({ startCommands: ['extra start'], os: 'ubuntu', env: { A: 'base' } })
  })

  it('knows in which setup a value stands', () => {
    const prod = parse(INHERITED).find(({ name }) => name === 'prod')
    expect(prod?.locate('run.start')?.line).toBe(5)
    expect(prod?.locate('run.env.B')?.line).toBe(10)
  })

  it.each([
    [
      'zerops: [{ setup: api, extends: bsae }, { setup: base }]',
      'zerops[0].extends names bsae, which is no setup of this file, did you mean base?',
    ],
    ['zerops: [{ setup: api, extends: api }]', 'zerops[0].extends leads back to itself by api'],
    ['zerops: [{ setup: a, extends: b }, { setup: b, extends: a }]', 'leads back to itself'],
  ])('refuses %s', (text, words) => {
    expect(message(text)).toContain(words)
  })

  it('I12: ends setups that extend each other twice over', () => {
    const setups = Array.from({ length: 60 }, (_, i) => `  - { setup: s${i}, extends: [s${i + 1}, s${i + 1}] }`)
    expect(parse(`zerops:\n${setups.join('\n')}\n  - { setup: s60, run: { start: a } }`)).toHaveLength(61)
  })
})

describe('what can not be carried over is refused by its name', () => {
  const run = (text: string) => `zerops:\n  - setup: api\n    run: ${text}\n`
  it.each([
    [run('{ start: a, crontab: [] }'), 'zerops.yml:3:22: zerops[0].run.crontab has no equivalent'],
    [run('{ start: a, envReplace: {} }'), 'zerops[0].run.envReplace has no equivalent'],
    [run('{ base: static, routing: { root: /x } }'), 'zerops[0].run.routing.root has no equivalent'],
    [run('{ start: a, routing: {} }'), 'zerops[0].run.routing is for static sites'],
    [run('{ base: static, routing: { redirects: [{ from: x, to: / }] } }'), 'must begin with /'],
    [run('{ siteConfigPath: x }'), 'zerops[0].run.siteConfigPath has no equivalent'],
    [run('{ base: php-nginx@8.4 }'), 'zerops[0].run.base brings a web server of its own'],
    [run('{ start: a, startCommands: [{ command: b }] }'), "zerops[0].run.startCommands can't stand beside run.start"],
    [run('{ startCommands: [{ command: b, user: root }] }'), 'run.startCommands.0.user has no equivalent'],
    [run('{ ports: [{ port: 53, protocol: UDP }] }'), 'can only be TCP here'],
    [run('{ start: a, envVariables: { PORT: 4000 } }'), 'is set by Shiplock'],
    [run('{ strat: a }'), 'zerops[0].run.strat is an unknown key, did you mean start?'],
    [run('{ start: a, healthCheck: { httpGet: { port: 1, path: no } } }'), 'must begin with /'],
    [run('{ start: a, healthCheck: { httpGet: { port: 1, path: / }, exec: { command: a } } }'), "can't stand beside httpGet"],
    ['zerops: [{ setup: a }, { setup: a }]', 'zerops[1].setup stands twice'],
    ['zerops: [{ setup: My_App }]', 'zerops[0].setup is no service name'],
    ['zerops: [{ setup: api, build: { cache: ../x } }]', 'must stay inside the source'],
    ['zerops: [{ run: {} }]', 'zerops[0].setup must be the name of a service'],
    ['zerops: []', 'zerops must hold at least one setup'],
    ['services: {}', 'services is an unknown key'],
    ['', 'zerops must be a list of setups'],
    ['zerops:\n\t- setup: a', 'a tab is used as indentation'],
  ])('%j', (text, words) => {
    expect(message(text)).toContain(words)
  })
})
