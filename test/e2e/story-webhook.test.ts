import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { Delivery } from '../../src/contract/webhook.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { GitHost } from '../support/git-host.ts'
import { HookClient, pushOf, SHA } from '../support/hook-client.ts'
import { freePort } from '../support/server.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/** A team's first push, told from the outside: the built server, its command line, a repository, and a git host that is played. */
const WITHIN = { withinMs: 60_000 }
let world: StoryWorld
let host: GitHost
let repo: StoryRepo
let hook: HookClient
let target: string
let sha: string
let hooksUrl: string

beforeAll(async () => {
  host = await GitHost.start()
  hooksUrl = `http://127.0.0.1:${await freePort()}`
  const settings = { SHIPLOCK_OUTGOING: 'any', SHIPLOCK_HEAD_CHECK: '1h', SHIPLOCK_HOOKS_LISTEN: new URL(hooksUrl).host }
  world = await StoryWorld.begin({ env: settings })
  repo = world.repo('harbour')
  sha = repo.commit('v1')
})
afterAll(async () => {
  await StoryWorld.endAll()
  await host?.stop()
})

const cli = (...args: string[]): Promise<CliResult> =>
  runCli({ dataDirectory: world.server.dataDirectory, apiPort: 1, edgePort: world.server.edgePort }, args, {
    env: { SHIPLOCK_URL: world.server.apiUrl, SHIPLOCK_TOKEN: world.server.token, GIT_HOST_TOKEN: 't0ken' },
  })
const deliveries = async (): Promise<Delivery[]> => (await world.server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)).items
const settledBy = async (delivery: string): Promise<Deployment> => {
  const decided = await eventually(
    async () => (await deliveries()).find(({ id, verdict }) => id === delivery && verdict !== 'received') ?? false,
    WITHIN,
  )
  expect(decided, decided.reason).toMatchObject({ verdict: 'queued' })
  return world.server.settled(decided.deploymentIds[0] ?? '')
}
const statesOf = (commit: string) => host.received.filter(({ path }) => path.endsWith(commit)).map(({ body }) => body.state)

test('a webhook is made on the command line, which says where it goes, and a test reaches it', async () => {
  const args = [
    '-s',
    'harbour',
    '--provider',
    'github',
    '--repository',
    repo.source.url,
    '--api-url',
    `${host.url}/api`,
    '--token-from',
    'GIT_HOST_TOKEN',
  ]
  const shown = await cli('webhook', 'create', ...args)
  expect(shown.code, shown.stderr).toBe(0)
  expect(shown.stdout).toMatch(/address {2}http:.*\/hooks\/hook_/)
  expect(shown.stdout).toContain('Settings → Webhooks')
  const made = JSON.parse((await cli('webhook', 'create', '--json', ...args)).stdout)
  hook = new HookClient(made, world.server.apiUrl)
  const [first] = JSON.parse((await cli('webhook', 'list', '--json')).stdout).webhooks
  expect((await cli('webhook', 'delete', first.id)).code).toBe(0)
  expect((await cli('webhook', 'test', hook.id)).stdout).toContain('verified and stored')
  const notify = JSON.parse((await cli('notify', 'add', `${host.url}/told`, '--json', '--name', 'crew')).stdout)
  target = notify.target.id
  expect((await cli('notify', 'test', target)).stdout).toContain('taken')
})

test('the listener of its own takes webhooks and knows nothing else', async () => {
  const outside = new HookClient({ webhook: hook, secret: hook.secret }, hooksUrl)
  expect((await outside.send({ zen: 'from outside' }, { event: 'ping' })).status).toBe(200)
  expect((await outside.send({ zen: 'from outside' }, { event: 'ping', secret: 'wrong' })).status).toBe(401)
  for (const path of ['/v1/health', '/v1/webhooks', '/openapi.json', '/']) {
    const headers = { authorization: `Bearer ${world.server.token}` }
    expect((await fetch(`${hooksUrl}${path}`, { headers })).status, path).toBe(404)
  }
})

test('a push deploys; the commit is marked pending, then successful with the address, and the crew is told', async () => {
  const { body } = await hook.send(pushOf(SHA('0'), sha))
  const deployment = await settledBy(body.delivery)
  expect(deployment).toMatchObject({
    status: 'running',
    revision: { commit: sha },
    trigger: { kind: 'webhook', actor: 'mara', push: { commit: sha } },
  })
  expect((await world.server.ask('harbour', '/')).version).toBe('v1')
  const last = await eventually(() => host.received.find(({ body: told }) => told.state === 'success') ?? false, WITHIN)
  expect(last).toMatchObject({
    headers: { authorization: 'Bearer t0ken' },
    body: { target_url: expect.stringContaining('harbour.localhost') },
  })
  // `pending` may have been overtaken; it never comes after.
  expect(statesOf(sha).at(-1)).toBe('success')
  await eventually(() => host.received.some(({ path, body: told }) => path === '/told' && told.type === 'deployment.running'), WITHIN)
})

test('I5: the server dies after its answer: the delivery is decided after its return, once', async () => {
  const before = sha
  sha = repo.commit('v2')
  const { status, body } = await hook.send(pushOf(before, sha))
  expect(status).toBe(202)
  await world.server.kill9()
  await world.server.start()
  hook = new HookClient({ webhook: hook, secret: hook.secret }, world.server.apiUrl)
  await settledBy(body.delivery)
  expect((await world.server.ask('harbour', '/')).version).toBe('v2')
  // The host sends it again, since it saw no answer.
  const again = await hook.send(pushOf(before, sha))
  expect(again.body).toMatchObject({ verdict: 'duplicate', of: body.delivery })
})

test.each(['delivery.decided-not-recorded', 'delivery.recorded'] as const)(
  'I5: kill -9 at %s: the push deploys exactly once',
  async (point) => {
    const before = sha
    const version = `at ${point}`
    sha = repo.commit(version)
    await world.server.kill9()
    await world.server.start({ SHIPLOCK_CRASH_AT: point })
    hook = new HookClient({ webhook: hook, secret: hook.secret }, world.server.apiUrl)
    const { body } = await hook.send(pushOf(before, sha))
    await world.server.untilExit()
    expect(world.server.endedBy).toBe('SIGKILL')
    await world.server.start()
    hook = new HookClient({ webhook: hook, secret: hook.secret }, world.server.apiUrl)
    await settledBy(body.delivery)
    expect((await world.server.ask('harbour', '/')).version).toBe(version)
    const { items } = await world.server.call('GET', '/v1/deployments?service=harbour&limit=200')
    expect(items.filter(({ trigger }: Deployment) => trigger.push?.commit === sha)).toHaveLength(1)
  },
)

test('each of two quick pushes deploys its own commit, in order', async () => {
  const before = sha
  const third = repo.commit('v3')
  sha = repo.commit('v4')
  const answers = [await hook.send(pushOf(before, third)), await hook.send(pushOf(third, sha))]
  const commits: unknown[] = []
  for (const { body } of answers) commits.push((await settledBy(body.delivery)).revision)
  expect(commits).toMatchObject([{ commit: third }, { commit: sha }])
  expect((await world.server.ask('harbour', '/')).version).toBe('v4')
})

test('a version that does not start: the commit is marked failed with the reason, what serves goes on', async () => {
  const before = sha
  sha = repo.commit('v5', { exitAtStart: 1 })
  const { body } = await hook.send(pushOf(before, sha))
  expect(await settledBy(body.delivery)).toMatchObject({ status: 'failed' })
  const told = await eventually(
    () => host.received.find(({ path, body: status }) => path.endsWith(sha) && status.state === 'failure') ?? false,
    WITHIN,
  )
  expect(told.body.description).not.toBe('')
  await eventually(() => host.received.some(({ path, body: status }) => path === '/told' && status.type === 'deployment.failed'), WITHIN)
  expect((await world.server.ask('harbour', '/')).version).toBe('v4')
})

test('I9: control sequences in names and messages reach no terminal', async () => {
  const before = sha
  repo.commit('v6')
  repo.git('commit', '--quiet', '--amend', '--author', '\u001b[31mEve\u202e <eve@example.org>', '-m', '\u001b]0;owned\u0007v6\u001b[2J')
  sha = repo.git('rev-parse', 'HEAD')
  const { body } = await hook.send(pushOf(before, sha, { message: '\u001b]0;owned\u0007v6\u001b[2J', author: '\u001b[31mEve\u202e' }))
  const deployment = await settledBy(body.delivery)
  const outputs = await Promise.all([
    cli('webhook', 'deliveries', hook.id),
    cli('webhook', 'show', hook.id),
    cli('status', 'harbour'),
    cli('logs', deployment.id),
    cli('events', '--deployment', deployment.id),
    cli('releases', 'harbour'),
  ])
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  for (const { stdout, stderr } of outputs) expect(stdout + stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f\u202e]/)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: the same
  expect(world.server.log()).not.toMatch(/\u001b|\u202e/)
})

test('a push that never arrived is found by looking at the branch, and says so', async () => {
  sha = repo.commit('v7')
  // A change of the webhook has its branches looked at now.
  expect((await cli('webhook', 'update', hook.id, '--enable')).code).toBe(0)
  await eventually(async () => (await world.server.ask('harbour', '/')).version === 'v7', WITHIN)
  const found = (await deliveries()).find(({ event }) => event === 'head-check')
  expect(found).toMatchObject({ verdict: 'queued' })
  expect(await world.server.settled(found?.deploymentIds[0] ?? '')).toMatchObject({ trigger: { kind: 'schedule', push: { commit: sha } } })
  expect((await cli('webhook', 'show', hook.id)).stdout).toContain('which no delivery had told')
})

test('a delivery is replayed from the command line', async () => {
  const [first] = (await deliveries()).filter(({ verdict, event }) => verdict === 'queued' && event === 'push')
  const replayed = JSON.parse((await cli('webhook', 'replay', '--json', hook.id, first?.id ?? '')).stdout)
  expect(replayed.replayOf).toBe(first?.id)
  await settledBy(replayed.id)
})

test('a rotated secret, and the target that is removed', async () => {
  const rotated = JSON.parse((await cli('webhook', 'rotate', '--json', '--overlap', '0s', hook.id)).stdout)
  expect((await hook.send({ zen: 'x' }, { event: 'ping' })).status).toBe(401)
  expect((await hook.send({ zen: 'x' }, { event: 'ping', secret: rotated.secret })).status).toBe(200)
  expect((await cli('webhook', 'deliveries', '--json', hook.id)).stdout).toContain('fits none of the secrets')
  expect((await cli('notify', 'list')).stdout).toContain('crew')
  expect((await cli('notify', 'remove', target)).code).toBe(0)
})
