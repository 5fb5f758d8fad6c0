import { mkdtempSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { eventually } from '../support/eventually.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

/**
 * I8 on a real server: a build and an app that print their secrets in every way they can think of, an artifact that holds one, and a
 * deployment that fails with one in its last words. Everything that the server tells, and its own log, is then searched for them.
 */
const PASSWORD = 'correct-horse/battery+staple'
const KEY = `-----BEGIN KEY-----\n${'MIIEvQIBADANBgkqhkiG9w0BAQEFAASC'.repeat(4)}\n-----END KEY-----`
const repos = mkdtempSync('/tmp/sl-secrets-')
let server: TestServer
let repo: GitRepo

beforeAll(async () => {
  server = await startTestServer()
  repo = new GitRepo(join(repos, 'app'))
  await server.call('PUT', '/v1/variables', { variables: { PASSWORD, KEY }, secret: true })
})
afterAll(async () => {
  await disposeServers()
  await removeTree(repos)
})

/** Prints them as they are, encoded, wrapped, in pieces, and across the bound of a line. */
const CHATTER = `
const { PASSWORD, KEY } = process.env
const say = (text) => process.stdout.write(text)
say('plain ' + PASSWORD + '\\n' + KEY + '\\n')
say(JSON.stringify({ PASSWORD, KEY }) + '\\n')
say(encodeURIComponent(PASSWORD) + '\\n')
say(Buffer.from('user:' + PASSWORD).toString('base64') + '\\n')
say(Buffer.from(KEY).toString('base64').replace(/.{76}/g, '$&\\n') + '\\n')
say(Buffer.from(PASSWORD).toString('hex') + '\\n')
say('x'.repeat(${LIMITS.logLineBytes} - 10) + PASSWORD + '\\n')
for (const unit of PASSWORD) say(unit)
say('\\n\\u001b[31m' + PASSWORD.slice(0, 9) + '\\u001b[0m' + PASSWORD.slice(9) + '\\n')
console.error('on stderr ' + PASSWORD)
`
const APP = `${CHATTER}
require('node:http').createServer((_, response) => {
  say('asked ' + PASSWORD + '\\n')
  response.end('up')
}).listen(process.env.PORT)
`

function commit(more: Readonly<Record<string, string>>, config: string): { kind: 'git'; url: string; ref: null } {
  repo.commit('a version', { 'chatter.js': CHATTER, 'app.js': APP, ...more, 'shiplock.yaml': config })
  return { kind: 'git', url: `file://${repo.directory}`, ref: null }
}

const config = (scan: string, start = 'node app.js', build = 'node chatter.js') => `
services:
  web:
    build: { buildCommands: ['${build}'], deployFiles: [app.js, dist] }
    scan: { enabled: false, secrets: ${scan} }
    run: { start: '${start}' }
    deploy: { bake: 0, drainTimeout: 1s, readinessCheck: { httpGet: { path: / }, failureTimeout: 10s } }
`

/** Everything that gives one of them away, in a text. */
function giveaways(text: string): string[] {
  const joined = text.replaceAll('\\n', '').replaceAll(/[\r\n]/g, '')
  const base64 = [PASSWORD, `user:${PASSWORD}`, KEY].map((value) => Buffer.from(value).toString('base64').slice(8, -4))
  const body = KEY.split('\n')[1] ?? ''
  const forms = [PASSWORD, encodeURIComponent(PASSWORD), Buffer.from(PASSWORD).toString('hex'), body, ...base64]
  return forms.filter((form) => joined.includes(form))
}

test('I8: what a build and an app print of their secrets reaches no log, event or answer', async () => {
  const source = commit({ 'dist/x.txt': 'nothing' }, config('block'))
  const { id } = await server.deployed({ service: 'web', source })
  await server.ask('web', '/')
  const lines = await server.logLines(id)
  const text = lines.map((line) => line.text).join('\n')
  expect(giveaways(text)).toEqual([])
  expect(text).toContain('plain ********')
  // Cut by the bound of a line: the beginning of the secret went too.
  expect(lines.filter((line) => line.text.startsWith('xxxx')).every((line) => /^x+(\*{8})?$/.test(line.text))).toBe(true)
  const output = await eventually(async () => {
    const page = await server.call('GET', '/v1/services/web/logs?follow=false')
    const all = page.items.map((line: { text: string }) => line.text).join('\n')
    expect(all).toContain('asked ********')
    return all as string
  })
  expect(giveaways(output)).toEqual([])
  for (const path of [
    '/v1/events?limit=200',
    `/v1/deployments/${id}`,
    '/v1/services/web',
    '/v1/variables',
    '/v1/services/web/releases',
    '/v1/audit',
  ]) {
    expect(giveaways(JSON.stringify(await server.call('GET', path))), path).toEqual([])
  }
})

test('I8: a follower of an app that prints a secret in pieces never sees it whole', async () => {
  const response = await fetch(`${server.apiUrl}/v1/services/web/logs?tail=0`, {
    headers: { authorization: `Bearer ${server.token}`, accept: 'text/event-stream' },
  })
  let seen = ''
  // The stream begins before it follows: what is asked once may be said in between.
  const asking = setInterval(() => void server.ask('web', '/').catch(() => {}), 200)
  for await (const chunk of response.body ?? []) {
    seen += Buffer.from(chunk).toString()
    if (seen.includes('asked')) break
  }
  clearInterval(asking)
  expect(seen).toContain('asked ********')
  expect(giveaways(seen)).toEqual([])
})

test('I8: a secret in the artifact is told by name and file, or ends the deployment, by policy', async () => {
  const leak = 'mkdir -p dist && printenv PASSWORD | base64 > dist/config.txt'
  const warned = await server.deployed({ service: 'web', source: commit({}, config('warn', 'node app.js', leak)) })
  expect(warned.warnings.join('\n')).toContain('PASSWORD, in one file: dist/config.txt')
  const events = await server.events(warned.id)
  expect(events.find((event) => event.type === 'scan.secrets_found')?.data).toMatchObject({
    policy: 'warn',
    findings: [{ path: 'dist/config.txt', names: ['PASSWORD'] }],
  })
  const { id } = await server.deploy({ service: 'web', source: commit({}, config('block', 'node app.js', leak)) })
  const refused = await server.settled(id)
  expect(refused).toMatchObject({ status: 'failed', error: { code: 'SECRET_IN_ARTIFACT', stage: 'scan' } })
  expect((await server.service('web')).live?.deploymentId).toBe(warned.id)
  expect(giveaways(JSON.stringify([refused, await server.events(id)]))).toEqual([])
  const off = await server.deployed({ service: 'web', source: commit({}, config('off', 'node app.js', leak)) })
  expect(off.warnings.join('\n')).not.toContain('PASSWORD')
})

test('I8: a failure whose last words are a secret is explained without it', async () => {
  for (const [start, build] of [
    ['node app.js', 'node chatter.js && printenv PASSWORD >&2 && exit 7'],
    ['node -e "throw new Error(process.env.PASSWORD)"', 'true'],
  ] as const) {
    const { id } = await server.deploy({ service: 'web', source: commit({ 'dist/x.txt': '' }, config('off', start, build)) })
    const failed = await server.settled(id)
    expect(failed.status).toBe('failed')
    const told = [failed, await server.events(id), (await server.logLines(id)).map((line) => line.text)]
    expect(giveaways(JSON.stringify(told))).toEqual([])
    expect(JSON.stringify(told)).toContain('********')
  }
})

test('I8: nothing of them stands in the server’s own log, nor in a file outside of sandboxes, instances and the database', () => {
  expect(giveaways(server.log())).toEqual([])
  const ours = readdirSync(server.dataDirectory, { withFileTypes: true }).filter((entry) => entry.isFile())
  for (const { name } of ours) expect(giveaways(readFileSync(join(server.dataDirectory, name), 'latin1')), name).toEqual([])
})
