import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Deployment } from '../../src/contract/deployment.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { audit } from '../support/audit.ts'
import { eventually } from '../support/eventually.ts'
import { sandboxesOf } from '../support/leak-check.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

let world: StoryWorld
beforeAll(async () => {
  world = await StoryWorld.begin()
})
afterAll(() => StoryWorld.endAll())

async function refused(service: string, repo: StoryRepo, ref: string | null = null): Promise<Deployment> {
  const { id } = await world.server.deploy({ service, source: { ...repo.source, ref } })
  const deployment = await world.server.settled(id)
  expect(deployment.status, JSON.stringify(deployment.error)).toBe('failed')
  return deployment
}

const textOf = async (id: string) => (await world.server.logLines(id)).map((line) => line.text).join('\n')
const config = (service: string, sections: object) => ({ 'shiplock.yaml': stringify({ services: { [service]: sections } }) })

test('a start command that names a file which the artifact lacks is caught before launch, with both paths', async () => {
  const repo = world.repo('tilde')
  repo.commit(
    'v1',
    {},
    { build: { deployFiles: ['dist/~'] }, run: { start: 'node dist/server.js' } },
    { 'dist/server.js': 'process.exit(1)\n' },
  )
  const { error } = await refused('tilde', repo)
  expect(error?.code).toBe('START_FILE_MISSING')
  expect(`${error?.message} ${error?.hint}`).toContain('dist/server.js')
  expect(`${error?.message} ${error?.hint}`).toMatch(/dist\/~/)
  expect(error?.stage).toBe('build')
})

test('an unknown key of the configuration is refused with its path and what may have been meant', async () => {
  const repo = world.repo('typo')
  repo.commitFiles('typo', {
    'server.js': '',
    ...config('typo', { run: { start: 'node server.js' }, deploy: { readynessCheck: { tcp: {} } } }),
  })
  const { error } = await refused('typo', repo)
  expect(error?.code).toBe('CONFIG_INVALID')
  expect(error?.message).toContain('services.typo.deploy.readynessCheck')
  expect(error?.message).toContain('readinessCheck')
})

test('I16: a directory in which nothing is recognised ends in one sentence and the one thing to do', async () => {
  const repo = world.repo('empty')
  repo.commitFiles('empty', { 'notes.txt': 'nothing to run\n' })
  const { error } = await refused('empty', repo)
  expect(error?.code).toBe('CONFIG_NOT_FOUND')
  expect(error?.message).toMatch(/^nothing here says how to run this: [^\n]+$/)
  expect(error?.hint).toContain('shiplock.yaml')
})

test('a branch, a commit and a repository that do not exist are told apart', async () => {
  const repo = await world.serving('absent')
  expect((await refused('absent', repo, 'nope')).error).toMatchObject({ code: 'REF_NOT_FOUND', message: expect.stringContaining('nope') })
  expect((await refused('absent', repo, '0123456789012345678901234567890123456789')).error?.code).toBe('REF_NOT_FOUND')
  const { id } = await world.server.deploy({
    service: 'absent',
    source: { kind: 'git', url: `file://${world.directory}/missing`, ref: null },
  })
  expect((await world.server.settled(id)).error?.code).toBe('SOURCE_NOT_FOUND')
  expect((await world.server.ask('absent', '/')).body).toBe('v1')
})

test.each([
  ['an option as URL', { url: '--upload-pack=touch /tmp/owned' }],
  ['a remote helper', { url: 'ext::sh -c "touch /tmp/owned"' }],
  ['a newline in the URL', { url: 'https://example.org/a\nb.git' }],
  ['a URL of another kind', { url: 'ftp://example.org/repo.git' }],
  ['a host that is an option', { url: 'ssh://-oProxyCommand=touch/repo.git' }],
  ['an option as ref', { ref: '--upload-pack=touch' }],
  ['a newline in the ref', { ref: 'main\n--force' }],
  ['a ref that walks', { ref: 'a..b' }],
])('I9: %s is refused at once, with the field', async (_name, bad) => {
  const source = { kind: 'git', url: 'https://example.org/repo.git', ref: null, ...bad }
  const reply = await world.server.api('POST', '/v1/deployments', { service: 'refused', source })
  expect([400, 422]).toContain(reply.status)
  expect(['INPUT_INVALID', 'SOURCE_REFUSED']).toContain(reply.body.code)
  expect(JSON.stringify(reply.body)).toMatch(/url|ref|branch/i)
  expect((await world.server.api('GET', '/v1/services/refused')).status).toBe(404)
})

test('a build that leaves children behind and exits 0 is a good build, and none of them lives on', async () => {
  const repo = world.repo('children')
  const buildCommands = ['sleep 1001 & setsid sleep 1002 & (setsid sh -c "trap \\"\\" TERM; sleep 1003" &) ; exit 0']
  repo.commit('v1', {}, { build: { buildCommands } })
  await world.server.deployed({ service: 'children', source: repo.source })
  expect([...sandboxesOf(world.server.dataDirectory)].filter((name) => !name.startsWith('ins_'))).toEqual([])
})

test('a build that prints without end of lines or measure is kept within bounds', async () => {
  const repo = world.repo('loud')
  repo.commit(
    'v1',
    {},
    {
      build: {
        buildCommands: [
          'yes "a line that says nothing at all" | head -c 60000000',
          'head -c 20000000 /dev/zero | tr "\\0" x',
          'echo the end',
        ],
      },
    },
  )
  const { id } = await world.server.deployed({ service: 'loud', source: repo.source })
  const [row] = (await world.server.call('GET', `/v1/deployments/${id}/logs?limit=1`)).items
  expect(row).toBeDefined()
  const text = await textOf(id)
  expect(text.length).toBeLessThan(LIMITS.deploymentLogBytes)
  expect(text).toMatch(/left out|dropped|truncated|not kept|too much/i)
})

test('a build that ignores SIGTERM is ended by a cancel', async () => {
  const repo = world.repo('deafbuild')
  repo.commit('v1', {}, { build: { buildCommands: [`trap '' TERM; echo waiting; while :; do sleep 1; done`] } })
  const { id } = await world.server.deploy({ service: 'deafbuild', source: repo.source })
  await eventually(async () => expect(await textOf(id)).toContain('waiting'))
  await world.server.call('POST', `/v1/deployments/${id}/cancel`)
  expect(await world.server.settled(id, 20_000)).toMatchObject({ status: 'canceled' })
  expect([...sandboxesOf(world.server.dataDirectory)].filter((name) => !name.startsWith('ins_'))).toEqual([])
})

test('I8: values with newlines, quotes and dollars reach the app unchanged, and a secret shows nowhere', async () => {
  const { server } = world
  const values = { ODD: `two\nlines, "double" 'single' \\ \`back\` $HOME %s`, EMPTY: '', UNICODE: 'żółć ☂' }
  const secret = 's3cret-that-nobody-prints'
  await server.call('PUT', '/v1/variables', { variables: values })
  await server.call('PUT', '/v1/variables', { secret: true, variables: { TOKEN: secret } })
  const repo = world.repo('odd')
  repo.commit('v1', {}, { build: { buildCommands: ['echo the token is $TOKEN'] } })
  const { id } = await server.deployed({ service: 'odd', source: repo.source })
  expect(JSON.parse((await server.ask('odd', '/env')).body)).toMatchObject({ ...values, TOKEN: secret })
  expect(await textOf(id)).not.toContain(secret)
  expect(JSON.stringify(await server.events())).not.toContain(secret)
  expect(JSON.stringify(await server.deployment(id))).not.toContain(secret)
  expect(server.log()).not.toContain(secret)
  for (const { command } of server.processes()) expect(command).not.toContain(secret)
})

test('after all of it nothing runs or stands that no row wants', async () => {
  await eventually(async () => expect(await audit(world.server, world.collector)).toEqual([]), { withinMs: 30_000 })
})
