import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { askService } from '../support/ask-service.ts'
import { GitRepo, type TreeFiles } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

/** Answers with what a tool of the runtime layer says, and where its home is. */
const APP = `
const { execFileSync } = require('node:child_process')
const { readFileSync, writeFileSync } = require('node:fs')
require('node:http').createServer((request, response) => {
  const tool = execFileSync('greet', { encoding: 'utf8' }).trim()
  const file = readFileSync(process.env.HOME + '/words.txt', 'utf8').trim()
  writeFileSync(process.env.HOME + '/written', 'by the app')
  response.end(JSON.stringify({ tool, file, home: process.env.HOME, version: process.env.VERSION }))
}).listen(process.env.PORT)
`
const PREPARE = [
  'mkdir -p .local/bin',
  'printf "#!/bin/sh\\ncat $HOME/made\\n" > .local/bin/greet && chmod +x .local/bin/greet',
  'date +%s%N > made',
]

let server: TestServer
const repos = mkdtempSync('/tmp/sl-prepare-')
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(async () => {
  await disposeServers()
  await removeTree(repos)
})

let count = 0
function repoOf(service: string) {
  const repo = new GitRepo(join(repos, `${service}${count++}`))
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  const commit = (version: string, options: { words?: string; prepare?: readonly string[]; files?: TreeFiles } = {}) => {
    const config = {
      services: {
        [service]: {
          build: { deployFiles: ['app.js'], addToRunPrepare: ['words.txt'] },
          run: { start: 'node app.js', env: { VERSION: version }, prepareCommands: options.prepare ?? PREPARE },
          deploy: {
            releaseCommand: 'greet',
            readinessCheck: { httpGet: { path: '/' }, retryPeriod: '200ms', failureTimeout: '20s' },
            bake: 0,
            drainTimeout: '1s',
          },
        },
      },
    }
    repo.commit(version, {
      'app.js': APP,
      'words.txt': options.words ?? 'hello',
      'shiplock.yaml': JSON.stringify(config),
      ...options.files,
    })
  }
  return { source, commit }
}

async function ask(service: string): Promise<{ tool: string; file: string; home: string; version: string }> {
  const { status, body } = await askService(server.edgePort, service)
  expect(status, body).toBe(200)
  return JSON.parse(body)
}

const logOf = async (id: string) => (await server.logLines(id)).map((line) => line.text).join('\n')

test('made once, reused while its inputs are the same, exact after a rollback, made again when the contents change', async () => {
  const { source, commit } = repoOf('layered')
  const deploy = () => server.deployed({ service: 'layered', source })
  commit('v1')
  const log = await logOf((await deploy()).id)
  expect(log).toContain('runtime layer: miss (nothing was prepared yet)')
  expect(log).toContain('$ date +%s%N > made')
  const first = await ask('layered')
  expect(first).toMatchObject({ file: 'hello', version: 'v1' })
  expect(first.home).toMatch(/^\/home\/shiplock$|runtime-layers/)

  commit('v2')
  expect(await logOf((await deploy()).id)).toContain('runtime layer: hit')
  const second = await ask('layered')
  expect(second).toMatchObject({ tool: first.tool, version: 'v2' })

  commit('v3', { words: 'other words' })
  expect(await logOf((await deploy()).id)).toContain(
    'runtime layer: miss (run.os, base, prepareCommands or the files of addToRunPrepare changed)',
  )
  const third = await ask('layered')
  expect(third.file).toBe('other words')
  expect(third.tool).not.toBe(first.tool)

  const { id } = await server.rollback({ service: 'layered', release: 1, force: true })
  expect((await server.settled(id)).status).toBe('running')
  expect(await ask('layered')).toMatchObject({ tool: first.tool, file: 'hello', version: 'v1' })
})

test('a failing command is named and changes nothing; the next attempt starts clean', async () => {
  const { source, commit } = repoOf('failing')
  commit('v1')
  await server.deployed({ service: 'failing', source })
  commit('v2', { prepare: [...PREPARE, 'no-such-tool --install'] })
  const { id } = await server.deploy({ service: 'failing', source })
  const failed = await server.settled(id)
  expect(failed).toMatchObject({ status: 'failed', error: { code: 'BUILD_FAILED', stage: 'prepare' } })
  expect(failed.error?.message).toMatch(
    /^run\.prepareCommands\[3\] `no-such-tool --install` failed \(exit 127 .*the command no-such-tool is not there/,
  )
  expect(await ask('failing')).toMatchObject({ version: 'v1' })
  const layers = join(server.dataDirectory, 'work', 'runtime-layers')
  for (const service of readdirSync(layers)) {
    for (const name of readdirSync(join(layers, service)))
      expect(readdirSync(join(layers, service, name)).sort()).toEqual(['about.json', 'home'])
  }
})

test('a command that hangs is ended by a cancel, and nothing of it stays', async () => {
  const { source, commit } = repoOf('hanging')
  commit('v1', { prepare: ['echo it hangs; trap "" TERM; while true; do sleep 1; done'] })
  const { id } = await server.deploy({ service: 'hanging', source })
  await server.waitFor(id, (deployment) => deployment.stage === 'prepare')
  await server.call('POST', `/v1/deployments/${id}/cancel`)
  expect((await server.settled(id)).status).toBe('canceled')
  expect(server.processes().filter((entry) => JSON.stringify(entry).includes('it hangs'))).toEqual([])
})

test('what addToRunPrepare names must be there', async () => {
  const { source, commit } = repoOf('missing')
  commit('v1', {
    files: {
      'shiplock.yaml':
        'services: { missing: { build: { addToRunPrepare: [requirements.txt] }, run: { start: node app.js, prepareCommands: ["true"] } } }',
    },
  })
  const { id } = await server.deploy({ service: 'missing', source })
  expect((await server.settled(id)).error).toMatchObject({
    code: 'BUILD_EMPTY',
    message: expect.stringContaining('build.addToRunPrepare: "requirements.txt"'),
  })
})

test('init commands have the layer too, and a zerops.yml finds it at /home/zerops', async () => {
  const { source, commit } = repoOf('zed')
  const yaml = [
    'zerops:',
    '  - setup: zed',
    '    build: { deployFiles: [app.js], addToRunPrepare: [words.txt] }',
    '    run:',
    '      prepareCommands:',
    ...PREPARE.map((command) => `        - ${JSON.stringify(command)}`),
    '        - test -f /home/zerops/words.txt || test -f "$HOME/words.txt"',
    '      initCommands: [greet]',
    '      start: node app.js',
    '    deploy: { readinessCheck: { httpGet: { port: 8000, path: / } } }',
    '',
  ].join('\n')
  commit('v1', { files: { 'zerops.yml': yaml.replace('{ httpGet: { port: 8000, path: / } }', '{ exec: { command: "true" } }') } })
  const repo = join(repos, `zed${count - 1}`)
  new GitRepo(repo).git('rm', '--quiet', 'shiplock.yaml')
  new GitRepo(repo).git('commit', '--quiet', '-m', 'only zerops.yml')
  await server.deployed({ service: 'zed', source })
  expect((await ask('zed')).home).toMatch(/^\/home\/zerops$|runtime-layers/)
})
