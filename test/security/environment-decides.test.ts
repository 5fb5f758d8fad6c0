import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Deployment } from '../../src/contract/deployment.ts'
import type { ServiceDetail } from '../../src/contract/service.ts'
import type { Delivery } from '../../src/contract/webhook.ts'
import { runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { HookClient, pullRequestOf, pushOf } from '../support/hook-client.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/** I14, told from the outside: who may do something in one environment only tries to decide what deploys next in another. */
const WITHIN = { withinMs: 60_000 }
/** Whoever gets these to count for production deploys there, or keeps others from it. */
const HOSTILE = { branch: 'evil', tags: '*', watch: ['nothing-here'], queue: 'latest' }
const OWN = { branch: null, tags: null, watch: [], queue: 'every' }

let world: StoryWorld
let repo: StoryRepo
let hook: HookClient
let staging: string

beforeAll(async () => {
  world = await StoryWorld.begin({ env: { SHIPLOCK_HEAD_CHECK: '1h' } })
  repo = await world.serving('shop')
  const { server } = world
  const made = await server.call('POST', '/v1/webhooks', {
    service: 'shop',
    provider: 'github',
    repository: repo.source.url,
    previews: { template: 'production' },
  })
  hook = new HookClient(made, server.apiUrl)
  await server.call('POST', '/v1/environments', { name: 'staging', branch: 'next' })
  const token = { name: 'stg', project: 'default', environment: 'staging', role: 'developer' }
  staging = (await server.call('POST', '/v1/tokens', token)).token
})
afterAll(() => StoryWorld.endAll())

const shopIn = (environment: string): Promise<ServiceDetail> => world.server.call('GET', `/v1/services/shop?environment=${environment}`)
const served = async (host: string) => (await world.server.ask(host, '/')).version
const shows = (host: string, version: string) => eventually(async () => expect(await served(host)).toBe(version), WITHIN)

/** What was decided about an event, for each environment. */
async function decided(answer: { readonly body: { readonly delivery: string } }): Promise<Delivery> {
  return eventually(async () => {
    const { items } = await world.server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)
    return items.find(({ id, verdict }: Delivery) => id === answer.body.delivery && verdict !== 'received') ?? false
  }, WITHIN)
}
async function push(branch: string, sha: string): Promise<Map<string, string>> {
  const before = repo.git('rev-parse', `${sha}~1`)
  const { decisions } = await decided(await hook.send(pushOf(before, sha, { branch, files: ['app.mjs'] })))
  return new Map(decisions.map(({ environment, verdict, code }) => [environment, code ?? verdict]))
}
/** A commit that only its pull request has. */
function propose(number: number, version: string): string {
  const sha = repo.commit(version, {}, { trigger: HOSTILE })
  repo.git('update-ref', `refs/pull/${number}/head`, sha)
  repo.git('reset', '--quiet', '--hard', 'HEAD~1')
  return sha
}
/** A commit on a branch of its own; the main one stays where it is. */
function aside(branch: string, ...commit: Parameters<StoryRepo['commit']>): string {
  repo.git('checkout', '--quiet', '-B', branch)
  const sha = repo.commit(...commit)
  repo.git('checkout', '--quiet', 'main')
  return sha
}
/** As `shiplock deploy DIRECTORY` with a token that counts for staging only. */
async function deployToStaging(version: string, trigger: object = {}, ...more: string[]): Promise<void> {
  const tree = world.repo('shop', 'of-staging')
  tree.commit(version, {}, { trigger: { ...trigger } })
  tree.commitFiles('the same under another name', { 'elsewhere.yaml': tree.read('shiplock.yaml') })
  const place = { dataDirectory: world.server.dataDirectory, apiPort: 1, edgePort: world.server.edgePort }
  const env = { SHIPLOCK_URL: world.server.apiUrl, SHIPLOCK_TOKEN: staging }
  const { code, stderr } = await runCli(place, ['deploy', tree.directory, '-s', 'shop', ...more], { env })
  expect(code, stderr).toBe(0)
}
async function asStaging(body: unknown): Promise<string> {
  const { status, body: answer } = await world.server.api('POST', '/v1/deployments', body, { authorization: `Bearer ${staging}` })
  return answer.code ?? String(status)
}

describe('I14: the configuration of', () => {
  test('a pull request decides nothing for production, a fork’s neither', async () => {
    await decided(await hook.send(pullRequestOf(7, propose(7, 'pr')), { event: 'pull_request' }))
    await shows('shop-preview-7', 'pr')
    const fork = propose(8, 'fork')
    await decided(await hook.send(pullRequestOf(8, fork, { isFork: true }), { event: 'pull_request' }))
    await world.server.call('POST', '/v1/previews/8/approve', { commit: fork })
    await shows('shop-preview-8', 'fork')
    expect((await shopIn('production')).pushes).toEqual(OWN)
    expect((await shopIn('preview-7')).pushes).toBeNull()
    expect((await push('evil', aside('evil', 'EVIL'))).get('production')).toBe('branch')
    expect((await push('main', repo.commit('v2'))).get('production')).toBe('queued')
    await shows('shop', 'v2')
  })

  test('staging, deployed with a token of staging, decides for staging only', async () => {
    await deployToStaging('stg', HOSTILE)
    expect(await served('shop-staging')).toBe('stg')
    // The branch that people gave the environment counts before that of its configuration.
    expect((await shopIn('staging')).pushes).toEqual({ ...HOSTILE, branch: 'next' })
    expect((await shopIn('production')).pushes).toEqual(OWN)
    const verdicts = await push('evil', aside('evil', 'EVIL-2'))
    expect([verdicts.get('production'), verdicts.get('staging')]).toEqual(['branch', 'branch'])
    expect((await push('main', repo.commit('v3'))).get('production')).toBe('queued')
    await shows('shop', 'v3')
  })

  test('a side branch that somebody deploys to production by hand counts once it serves, not before, and no longer', async () => {
    const { server } = world
    const deploy = (ref: string) => server.deploy({ service: 'shop', source: { ...repo.source, ref } })
    aside('broken', 'broken', { exitAtStart: 1 }, { trigger: HOSTILE })
    expect(await server.settled((await deploy('broken')).id)).toMatchObject({ status: 'failed' })
    expect((await shopIn('production')).pushes).toEqual(OWN)
    aside('side', 'side', {}, { trigger: { branch: 'side' } })
    expect(await server.settled((await deploy('side')).id)).toMatchObject({ status: 'running' })
    expect((await shopIn('production')).pushes).toEqual({ ...OWN, branch: 'side' })
    await server.settled((await server.rollback({ service: 'shop' })).id)
    await shows('shop', 'v3')
    expect((await shopIn('production')).pushes).toEqual(OWN)
    await server.call('DELETE', '/v1/services/shop/hold')
  })
})

describe('I14: a token of staging', () => {
  test('does not set what production deploys next', async () => {
    const { server } = world
    await deployToStaging('STAGING-OWNED')
    expect((await shopIn('staging')).source).toMatchObject({ kind: 'upload' })
    expect((await shopIn('production')).source).toMatchObject({ kind: 'git', url: repo.source.url })
    await server.deploy({ service: 'shop', source: repo.source }).then(({ id }) => server.settled(id))
    const { id } = await server.deploy({ service: 'shop', environment: 'production' })
    expect(await server.settled(id)).toMatchObject({ status: 'running', revision: { kind: 'git' } })
    expect(await served('shop')).toBe('v3')
  })

  test('does not get the code that others uploaded, although it knows the digest', async () => {
    const place = { dataDirectory: world.server.dataDirectory, apiPort: 1, edgePort: world.server.edgePort }
    const tree = world.repo('hidden')
    tree.commit('secret-code')
    const env = { SHIPLOCK_URL: world.server.apiUrl, SHIPLOCK_TOKEN: world.server.token }
    const shown = await runCli(place, ['deploy', tree.directory, '-s', 'hidden', '--json', '--detach'], { env })
    expect(shown.code, shown.stderr).toBe(0)
    const { items } = await world.server.call('GET', '/v1/deployments?service=hidden')
    const source = (items as Deployment[])[0]?.source
    expect(source).toMatchObject({ kind: 'upload' })
    expect(await asStaging({ service: 'mine', source })).toBe('SOURCE_NOT_FOUND')
    expect(await asStaging({ service: 'hidden' })).toBe('INPUT_INVALID')
  })

  test('does not say where in the source production finds its service, nor does what failed there', async () => {
    const { server } = world
    await deployToStaging('stg-elsewhere', {}, '--config', 'elsewhere.yaml')
    const lost = await server.deploy({ service: 'shop', source: repo.source, options: { configPath: 'missing.yaml' } })
    expect(await server.settled(lost.id)).toMatchObject({ status: 'failed' })
    expect((await push('main', repo.commit('v4'))).get('production')).toBe('queued')
    await shows('shop', 'v4')
  })
})
