import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { silentLogger } from '../../src/core/log.ts'
import { decideNext } from '../../src/engine/triggers/decider.ts'
import type { TriggerDependencies } from '../../src/engine/triggers/dependencies.ts'
import { sweepPreviews } from '../../src/engine/triggers/sweep-previews.ts'
import { matchTrigger } from '../../src/sources/webhooks/trigger-matchers.ts'
import { getServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { finishEnvironmentRemoval, finishRemoval, listEmptyRemovals, listRemovals } from '../../src/store/sql/removals.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import { HookClient, pullRequestOf, SHA } from '../support/hook-client.ts'

/** What events of pull requests do to previews, decided on a real database; nothing is built here. */
let api: ApiFixture
let hook: HookClient
let project: string
const dependencies = (): TriggerDependencies => ({
  database: api.database,
  clock: systemClock,
  logger: silentLogger,
  matchTrigger,
  validateSource: () => {},
  readHeads: async () => ({ defaultBranch: 'main', branches: new Map() }),
  previewHost: ({ service, number }) => `${service}-preview-${number}.localhost`,
  headCheckMs: 60_000,
})

beforeAll(async () => {
  api = await startApi({ ratesPerMinute: { perToken: 1e6, anonymous: 1e6, failures: 1e6 } })
})
afterAll(() => api?.stop())
beforeEach(async () => {
  project = `p-${randomUUID().slice(0, 8)}`
  await api.call('POST', '/v1/projects', { name: project })
  hook = await HookClient.create(api, 'web', { project, previews: { template: 'production' } })
})

const settle = async () => {
  while (await decideNext(dependencies(), new AbortController().signal)) {}
}
const latest = async (of = hook) => (await api.call('GET', `/v1/webhooks/${of.id}/deliveries?limit=1`)).body.items[0]
const pull = async (...given: Parameters<typeof pullRequestOf>) => {
  expect((await hook.send(pullRequestOf(...given), { event: 'pull_request' })).status).toBe(202)
  await settle()
  return latest()
}
const previews = async () => (await api.call('GET', `/v1/previews?project=${project}`)).body.items
const deployments = (environment: string) =>
  api.database.query<{ status: string; source: Record<string, unknown>; trigger: { push: Record<string, unknown> } }>(
    `select d.status, d.source, d.trigger from deployments d join environments e on e.id = d.environment_id join projects p on p.id = d.project_id
      where p.name = $1 and e.name = $2 order by d.position`,
    [project, environment],
  )
/** As a server does, of what never ran. */
async function finishRemovals(): Promise<void> {
  for (const id of await listRemovals(api.database)) {
    const target = await getServiceEnvironment(api.database, id)
    if (target !== null) await api.database.transaction((tx) => finishRemoval(tx, target))
  }
  for (const id of await listEmptyRemovals(api.database)) await api.database.transaction((tx) => finishEnvironmentRemoval(tx, id))
}

test('a pull request that is opened gets an environment, a host and the commit of the event from its own ref', async () => {
  const delivery = await pull(42, SHA('a'))
  expect(delivery).toMatchObject({ verdict: 'queued', decisions: [{ environment: 'preview-42' }] })
  expect(await deployments('preview-42')).toMatchObject([
    { status: 'pending', source: { ref: 'refs/pull/42/head' }, trigger: { push: { commit: SHA('a'), ref: 'refs/pull/42/head' } } },
  ])
  expect(await previews()).toMatchObject([
    { number: 42, state: 'standing', environment: 'preview-42', fork: false, services: [{ service: 'web', status: 'pending' }] },
  ])
  const { items } = (await api.call('GET', `/v1/environments?project=${project}`)).body
  expect(items.find((one: { name: string }) => one.name === 'preview-42')).toMatchObject({ preview: true })
})

test('a push takes the place of the one that waits; the same commit again does nothing', async () => {
  await pull(1, SHA('a'))
  await pull(1, SHA('b'), { action: 'synchronize' })
  expect((await deployments('preview-1')).map((one) => one.status)).toEqual(['superseded', 'pending'])
  expect(await pull(1, SHA('b'), { action: 'edited', title: 'another' })).toMatchObject({ verdict: 'skipped', code: 'unwanted' })
})

test('a fork waits for a word about each commit; the word counts for that commit only', async () => {
  const asked = await pull(7, SHA('a'), { isFork: true })
  expect(asked).toMatchObject({ verdict: 'skipped', code: 'approval' })
  expect(await deployments('preview-7')).toEqual([])
  expect(await previews()).toMatchObject([{ number: 7, state: 'waiting', environment: null, waitsFor: { commit: SHA('a') } }])
  const approve = (commit: string) => api.call('POST', '/v1/previews/7/approve', { project, commit })
  expect((await approve(SHA('b'))).status).toBe(404)
  expect((await approve(SHA('a'))).status).toBe(202)
  await settle()
  expect((await deployments('preview-7')).map(({ trigger }) => trigger.push.commit)).toEqual([SHA('a')])
  expect(await pull(7, SHA('c'), { isFork: true, action: 'synchronize' })).toMatchObject({ code: 'approval' })
  expect(await previews()).toMatchObject([{ state: 'standing', waitsFor: { commit: SHA('c') } }])
  // Closed: the approvals go, also the ones that were given.
  await pull(7, SHA('c'), { isFork: true, action: 'closed' })
  await finishRemovals()
  expect((await approve(SHA('c'))).status).toBe(404)
  expect(await pull(7, SHA('a'), { isFork: true, action: 'reopened' })).toMatchObject({ code: 'approval' })
})

test('closed: what waits is canceled and everything goes; opened again meanwhile, it comes back once that is done', async () => {
  await pull(3, SHA('a'))
  expect(await pull(3, SHA('a'), { action: 'closed' })).toMatchObject({ verdict: 'skipped', code: 'preview-removed' })
  expect((await deployments('preview-3'))[0]?.status).toBe('canceled')
  expect(await previews()).toMatchObject([{ state: 'removing' }])
  expect(await pull(3, SHA('b'), { action: 'reopened' })).toMatchObject({ code: 'preview-ending' })
  await sweepPreviews(dependencies())
  expect(await latest()).toMatchObject({ code: 'preview-ending' })
  await finishRemovals()
  expect(await previews()).toEqual([])
  await sweepPreviews(dependencies())
  await settle()
  expect(await latest()).toMatchObject({ verdict: 'queued' })
  expect((await deployments('preview-3')).map(({ trigger }) => trigger.push.commit)).toEqual([SHA('b')])
  // Closed once more before it could come back: it stays closed.
  await pull(3, SHA('b'), { action: 'closed' })
  await pull(3, SHA('b'), { action: 'reopened' })
  await pull(3, SHA('b'), { action: 'closed' })
  await finishRemovals()
  await sweepPreviews(dependencies())
  await settle()
  expect(await previews()).toEqual([])
})

test('the sweep ends what is over its time, and what lost its webhook or its rules', async () => {
  await pull(1, SHA('a'))
  await sweepPreviews(dependencies())
  expect(await previews()).toMatchObject([{ state: 'standing' }])
  await api.database.query(`update previews set expires_at = now() - interval '1 second' where number = 1`)
  await sweepPreviews(dependencies())
  expect(await previews()).toMatchObject([{ state: 'removing' }])
  await finishRemovals()
  await pull(2, SHA('b'))
  expect((await api.call('DELETE', `/v1/webhooks/${hook.id}`)).status).toBe(204)
  await sweepPreviews(dependencies())
  await finishRemovals()
  const { items } = (await api.call('GET', `/v1/environments?project=${project}`)).body
  expect(items.map((one: { name: string }) => one.name)).toEqual(['production'])
})

test('the plan and the rules bound how many there are, and which', async () => {
  await api.call('PUT', `/v1/projects/${project}/limits`, { previews: 1 })
  await pull(1, SHA('a'))
  expect(await pull(2, SHA('b'))).toMatchObject({ verdict: 'skipped', code: 'unwanted', reason: expect.stringContaining('1 previews') })
  await api.call('PUT', `/v1/webhooks/${hook.id}`, {
    previews: { template: 'production', baseBranch: 'main', label: 'show', forks: 'never' },
  })
  // It stands, and the rules do not want it any more.
  expect(await pull(1, SHA('c'), { action: 'synchronize' })).toMatchObject({ code: 'preview-removed' })
  await finishRemovals()
  expect(await pull(1, SHA('c'), { action: 'labeled', labels: ['show'] })).toMatchObject({ verdict: 'queued' })
  expect(await pull(4, SHA('d'), { isFork: true, labels: ['show'] })).toMatchObject({ verdict: 'skipped' })
  await api.call('PUT', `/v1/webhooks/${hook.id}`, { previews: { template: 'nowhere' } })
  expect(await pull(1, SHA('e'), { action: 'synchronize' })).toMatchObject({ code: 'no-template' })
  await api.call('PUT', `/v1/webhooks/${hook.id}`, { previews: null })
  expect((await hook.send(pullRequestOf(5, SHA('f')), { event: 'pull_request' })).body).toMatchObject({ verdict: 'ignored' })
})

test('two repositories may both have a number 1, and an environment of people keeps its name', async () => {
  await api.call('POST', '/v1/environments', { project, name: 'preview-9' })
  expect((await pull(9, SHA('a'))).decisions[0].environment).toMatch(/^preview-9-[0-9a-f]{6}$/)
  await pull(1, SHA('a'))
  const other = await HookClient.create(api, 'docs', {
    project,
    repository: 'https://git.example.com/quayside/docs.git',
    previews: { template: 'production' },
  })
  await other.send(pullRequestOf(1, SHA('b')), { event: 'pull_request' })
  await settle()
  const ones = (await previews()).filter(({ number }: { number: number }) => number === 1)
  expect(new Set(ones.map((one: { environment: string }) => one.environment)).size).toBe(2)
  expect((await api.call('GET', `/v1/previews/1?project=${project}`)).status).toBe(409)
  const named = await api.call(
    'GET',
    `/v1/previews/1?project=${project}&repository=${encodeURIComponent('https://git.example.com/quayside/docs.git')}`,
  )
  expect(named.body.services).toMatchObject([{ service: 'docs' }])
  expect((await api.call('DELETE', `/v1/previews/9?project=${project}`)).body).toMatchObject({ state: 'removing' })
})

test('services of one repository share the environment of a pull request', async () => {
  const second = await HookClient.create(api, 'worker', { project, previews: { template: 'production' } })
  await pull(6, SHA('a'))
  await second.send(pullRequestOf(6, SHA('a')), { event: 'pull_request' })
  await settle()
  expect(await latest(second)).toMatchObject({ verdict: 'queued', decisions: [{ environment: 'preview-6' }] })
  expect(await previews()).toMatchObject([{ services: [{ service: 'web' }, { service: 'worker' }] }])
})

test('I9: hostile titles, authors and branches are kept harmless', async () => {
  await pull(8, SHA('a'), { title: '\u001b]0;owned\u0007hi\u202e', author: '\u001b[31mEve' })
  const [{ title, author }] = await previews()
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  expect(title + author).not.toMatch(/[\u0000-\u001f\u202e]/)
})
