import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { Delivery } from '../../src/contract/webhook.ts'
import type { CliResult } from '../support/cli.ts'
import { DocumentedCommands } from '../support/documented-commands.ts'
import { eventually } from '../support/eventually.ts'
import { GitHost } from '../support/git-host.ts'
import { gitServersMissing, SshServer } from '../support/git-servers.ts'
import { HookClient, pushOf, SHA } from '../support/hook-client.ts'
import { ShellUser } from '../support/shell-user.ts'
import type { Behaviour, StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/**
 * docs/first-hour.md, command by command, typed into a shell: the built server and command line, a private repository behind a real sshd,
 * and a git host and a chat that are played. What the page says happens is looked for after each.
 */
const WITHIN = { withinMs: 60_000 }
const SECRET = 'postgres://shop:w7-Kq.9fLm_2Zx@db/shop'
const missing = gitServersMissing()
const page = new DocumentedCommands('first-hour.md')
let world: StoryWorld
let ssh: SshServer
let host: GitHost
let repo: StoryRepo
let hook: HookClient
let admin: ShellUser
let anna: ShellUser
let ben: ShellUser
/** What stands for the page's examples and placeholders from now on. */
const filled: Record<string, string> = {}
let sha = SHA('0')

beforeAll(async () => {
  if (missing !== null) return
  host = await GitHost.start()
  world = await StoryWorld.begin({ env: { SHIPLOCK_OUTGOING: 'any', SHIPLOCK_HEAD_CHECK: '1h', SHIPLOCK_EDGE_FRONT: 'https' } })
  repo = world.repo('api')
  commit('v1')
  repo.git('branch', 'develop')
  ssh = await SshServer.start(join(world.directory, 'sshd'), [])
  const user = (name: string, env: Readonly<Record<string, string>>) => new ShellUser(join(world.directory, `home-${name}`), env)
  admin = user('admin', { SHIPLOCK_URL: world.server.apiUrl, SHIPLOCK_TOKEN: world.server.token })
  anna = user('anna', { DATABASE_URL: SECRET, GIT_HOST_TOKEN: 't0ken' })
  ben = user('ben', {})
  Object.assign(filled, {
    'https://deploy.example.com': world.server.apiUrl,
    'ssh://git@git.example.com/shop/api.git': ssh.urlOf(new URL(repo.source.url).pathname),
    'https://git.example.com/api/v3': `${host.url}/api`,
    'https://ops.example.com/shiplock': `${host.url}/told`,
    'git.example.com': ssh.host,
  })
})
afterAll(async () => {
  await StoryWorld.endAll()
  await ssh?.stop()
  await host?.stop()
})
beforeEach((context) => {
  if (missing !== null) context.skip(missing)
})

/** A version that prints its secret as careless programs do. */
function commit(version: string, behaviour: Behaviour = {}): string {
  const run = { start: 'echo "connecting to $DATABASE_URL" && exec node app.mjs' }
  return repo.commit(version, behaviour, { run, deploy: { readinessCheck: { httpGet: { path: '/ready' }, failureTimeout: '3m' } } })
}

/** The page's next command, which must succeed. */
async function does(user: ShellUser, start: string): Promise<CliResult> {
  const line = page.next(start, filled)
  const result = await user.run(line)
  expect(result.code, `${line}\n${result.stdout}${result.stderr}`).toBe(0)
  return result
}

/** The page's next command, which must be refused. */
async function isRefused(user: ShellUser, start: string): Promise<string> {
  const line = page.next(start, filled)
  const result = await user.run(line)
  expect(result.code, `${line}\n${result.stdout}`).not.toBe(0)
  return result.stderr
}

function signsIn(user: ShellUser, shown: string): void {
  filled['slk_…'] = /slk_\S+/.exec(shown)?.[0] ?? ''
  user.export(page.next('export', filled))
}

/** `git push`, and the git host that tells of it. */
async function pushes(version: string, behaviour: Behaviour = {}): Promise<string> {
  page.next('git push', filled)
  const before = sha
  sha = commit(version, behaviour)
  const { status, body } = await hook.send(pushOf(before, sha))
  expect(status).toBe(202)
  return body.delivery
}

async function decided(delivery: string): Promise<Delivery> {
  const look = async () => (await world.server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)).items as Delivery[]
  return eventually(async () => (await look()).find(({ id, verdict }) => id === delivery && verdict !== 'received') ?? false, WITHIN)
}

/** The deployment of a push, which takes the place of `dep_…`. */
async function queuedBy(delivery: string): Promise<string> {
  const { verdict, reason, deploymentIds } = await decided(delivery)
  expect(verdict, reason).toBe('queued')
  filled['dep_…'] = deploymentIds[0] ?? ''
  return filled['dep_…']
}

const api = (environment = 'production') => world.server.call('GET', `/v1/services/api?project=shop&environment=${environment}`)
const version = async (environment = 'production') => {
  const { hostname } = new URL((await api(environment)).url)
  return (await world.server.ask(hostname.replace(/\.localhost$/, ''), '/')).version
}
const serves = (wanted: string) => eventually(async () => (await version()) === wanted, WITHIN)

test('a project with environments and an owner, who signs in with a token of her own', async () => {
  await admin.run(page.next('shiplock doctor', filled))
  await does(admin, 'shiplock project create')
  await does(admin, 'shiplock environment create production')
  await does(admin, 'shiplock environment create staging')
  await does(admin, 'shiplock member add anna')
  signsIn(anna, (await does(admin, 'shiplock token create')).stdout)
  expect((await does(anna, 'shiplock token show')).stdout).toMatch(/anna-laptop of anna +shop +owner/)
})

test('a service from a private repository: a deploy key, a pinned host, a secret that comes through a pipe', async () => {
  const key = (await does(anna, 'shiplock deploy-key create')).stdout.split('\n')[0] ?? ''
  expect(key).toMatch(/^ssh-ed25519 /)
  ssh.authorize([key])
  const unsure = await anna.run(`shiplock deploy-key pin ${ssh.host} -s api`)
  expect(unsure.stderr).toContain('--fingerprint')
  filled['SHA256:…'] = /SHA256:\S+/.exec(unsure.stdout)?.[0] ?? ''
  await does(anna, 'shiplock deploy-key pin')
  await does(anna, 'printf %s')
  expect((await does(anna, 'shiplock deploy ssh')).stdout).toContain('api v1 is live')
  expect((await does(anna, 'shiplock status')).stdout).toMatch(/shop\/production[\s\S]*https:\/\//)
  sha = repo.git('rev-parse', 'HEAD')
  expect(await version()).toBe('v1')
})

test('a webhook, a signed push that is answered 202, and its deployment, watched; the host and the crew are told', async () => {
  const made = (await does(anna, 'shiplock webhook create')).stdout
  const [id = '', secret = ''] = [/hook_\w+/.exec(made)?.[0], /secret {3}(\S+)/.exec(made)?.[1]]
  filled['hook_…'] = id
  hook = new HookClient({ webhook: { id }, secret }, world.server.apiUrl)
  expect((await does(anna, 'shiplock webhook test')).stdout).toContain('verified and stored')
  await does(anna, 'shiplock notify add')
  const id2 = await queuedBy(await pushes('v2', { readyAfterMs: 3000 }))
  expect((await does(anna, 'shiplock webhook deliveries')).stdout).toMatch(/push .* queued +dep_/)
  expect((await does(anna, 'shiplock queue')).stdout).toContain(id2)
  const followed = (await does(anna, 'shiplock logs dep_')).stdout
  expect(followed).toContain('with the deploy key SHA256:')
  expect((await world.server.settled(id2)).status).toBe('running')
  expect((await does(anna, 'shiplock events')).stdout).toContain('deployment.running')
  expect((await does(anna, 'shiplock logs api')).stdout).toContain('connecting to ')
  expect(await version()).toBe('v2')
  const told = (what: (body: Record<string, unknown>) => boolean) => eventually(() => host.received.some(({ body }) => what(body)), WITHIN)
  await told(({ state }) => state === 'success')
  await told(({ type, commit: of }) => type === 'deployment.running' && of === sha)
  expect(host.received.find(({ path }) => path.endsWith(sha))?.headers.authorization).toBe('Bearer t0ken')
})

test('one push is canceled, one is rolled back, and the hold keeps the next until it is released', async () => {
  const stuck = await queuedBy(await pushes('v3', { neverReady: true }))
  await world.server.waitFor(stuck, ({ status }: Deployment) => status === 'deploying')
  await does(anna, 'shiplock cancel')
  expect((await world.server.settled(stuck)).status).toBe('canceled')
  expect((await does(anna, 'shiplock why')).stdout).toMatch(/canceled[\s\S]*Next:/)
  expect((await does(anna, 'shiplock releases')).stdout).toContain('v2')
  expect(await version()).toBe('v2')
  await does(anna, 'shiplock rollback')
  expect(await version()).toBe('v1')
  expect((await does(anna, 'shiplock status')).stdout).toMatch(/Hold.*anna/)
  await eventually(() => host.received.some(({ body }) => body.type === 'deployment.rolled_back'), WITHIN)
  expect(await decided(await pushes('v4'))).toMatchObject({ verdict: 'skipped' })
  expect((await does(anna, 'shiplock webhook deliveries')).stdout).toMatch(/skipped.*hold/)
  expect(await version()).toBe('v1')
  await does(anna, 'shiplock rollback -s api --release-hold')
  await serves('v4')
})

test('a second member deploys to staging, and is refused the rest in words that say why', async () => {
  await does(anna, 'shiplock member add ben')
  signsIn(ben, (await does(anna, 'shiplock token create ben-laptop')).stdout)
  await does(ben, 'shiplock deploy ssh')
  expect(await version('staging')).toBe('v1')
  expect(await isRefused(ben, 'shiplock env set')).toMatch(/FORBIDDEN.*secrets/)
  expect(await isRefused(ben, 'shiplock rollback')).toContain('NOT_FOUND: no environment production')
  expect(await version()).toBe('v4')
})

test('a freeze keeps a push and a deployment back and says until when; the audit log tells all of it', async () => {
  await does(anna, 'shiplock freeze')
  expect(await decided(await pushes('v5'))).toMatchObject({ verdict: 'skipped' })
  expect((await does(anna, 'shiplock webhook deliveries')).stdout).toMatch(/skipped.*stocktaking/)
  expect((await does(anna, 'shiplock freezes')).stdout).toMatch(/production of shop.*anna.*stocktaking/)
  expect(await isRefused(anna, 'shiplock deploy')).toMatch(/FROZEN[\s\S]*stocktaking[\s\S]*--override-freeze/)
  expect(await version()).toBe('v4')
  await does(anna, 'shiplock unfreeze')
  await serves('v5')
  const audit = (await does(anna, 'shiplock audit')).stdout
  const did = [
    'project.create',
    'environment.create',
    'member.add',
    'token.create',
    'webhook.create',
    'deployment.cancel',
    'rollback.create',
    'hold.release',
    'freeze.create',
    'freeze.lift',
  ]
  expect(did.filter((action) => !audit.includes(action))).toEqual([])
  expect(audit).toMatch(/anna/)
  expect(audit).toMatch(/ben/)
  expect(page.left).toEqual([])
})

test('I8: the secret stands nowhere: not in what anybody was shown, told or logged', async () => {
  const { items } = await world.server.call('GET', '/v1/deployments?project=shop&limit=200')
  const lines = await Promise.all(items.map(({ id }: Deployment) => world.server.logLines(id)))
  const events = JSON.stringify(await world.server.events())
  const variables = JSON.stringify(await world.server.call('GET', '/v1/variables?project=shop&environment=production'))
  const told = JSON.stringify(host.received)
  const everything = [admin.shown, anna.shown, ben.shown, JSON.stringify([items, lines]), events, variables, told, world.server.log()]
  const forms = [SECRET, 'w7-Kq.9fLm_2Zx', encodeURIComponent(SECRET), Buffer.from(SECRET).toString('base64').slice(4, -4)]
  expect(everything.flatMap((text, at) => forms.filter((form) => text.includes(form)).map((form) => `${form} in ${at}`))).toEqual([])
  expect(variables).toContain('DATABASE_URL')
  // The app itself got it.
  const { hostname } = new URL((await api()).url)
  expect((await world.server.ask(hostname.replace(/\.localhost$/, ''), '/env')).body).toContain('w7-Kq.9fLm_2Zx')
})
