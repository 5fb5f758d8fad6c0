import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Delivery } from '../../src/contract/webhook.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { HookClient, pullRequestOf } from '../support/hook-client.ts'
import type { StoryRepo } from '../support/story-repo.ts'
import { StoryWorld } from '../support/story-world.ts'

/** A pull request's life, told from the outside: the built server, its command line, and a repository with pull request refs. */
const WITHIN = { withinMs: 60_000 }
let world: StoryWorld
let repo: StoryRepo
let hook: HookClient

beforeAll(async () => {
  world = await StoryWorld.begin()
  repo = await world.serving('harbour')
})
afterAll(() => StoryWorld.endAll())

const cli = (...args: string[]): Promise<CliResult> =>
  runCli({ dataDirectory: world.server.dataDirectory, apiPort: 1, edgePort: world.server.edgePort }, args, {
    env: {
      SHIPLOCK_URL: world.server.apiUrl,
      SHIPLOCK_TOKEN: world.server.token,
      DB_PASSWORD: 'correct-horse',
      FLAG_KEY: 'for-all-to-see',
    },
  })
async function done(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cli(...args)
  expect(code, stderr).toBe(0)
  return stdout
}
/** A commit where the host keeps those of a pull request. */
function propose(number: number, version: string): string {
  const sha = repo.commit(version)
  repo.git('update-ref', `refs/pull/${number}/head`, sha)
  repo.git('reset', '--quiet', '--hard', 'HEAD~1')
  return sha
}
async function tell(number: number, sha: string, changes: Parameters<typeof pullRequestOf>[2] = {}): Promise<Delivery> {
  const { body } = await hook.send(pullRequestOf(number, sha, changes), { event: 'pull_request' })
  return eventually(async () => {
    const { items } = await world.server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)
    return items.find(({ id, verdict }: Delivery) => id === body.delivery && verdict !== 'received') ?? false
  }, WITHIN)
}
const shows = (number: number, version: string) =>
  eventually(async () => expect((await world.server.ask(`harbour-preview-${number}`, '/')).version).toBe(version), WITHIN)

test('opened: the preview answers under its own host, with its own variables and no secret of production', async () => {
  await done('env', 'set', '-e', 'production', 'LEVEL=quiet', 'DATABASE_URL=postgres://app:pw@db/app', 'COLOR=grey')
  await done('secret', 'set', '-e', 'production', 'DB_PASSWORD', '--from-env')
  await done('secret', 'set', 'FLAG_KEY', '--from-env', '--for-previews')
  const made = await done(
    'webhook',
    'create',
    '--json',
    '-s',
    'harbour',
    '--provider',
    'github',
    '--repository',
    repo.source.url,
    '--previews',
    'production',
  )
  hook = new HookClient(JSON.parse(made), world.server.apiUrl)
  expect(await tell(1, propose(1, 'pr1'))).toMatchObject({ verdict: 'queued' })
  await shows(1, 'pr1')
  const env = JSON.parse((await world.server.ask('harbour-preview-1', '/env')).body)
  expect(env).toMatchObject({ LEVEL: 'quiet', COLOR: 'grey', FLAG_KEY: 'for-all-to-see', SHIPLOCK_ENVIRONMENT: 'preview-1' })
  expect(Object.keys(env)).not.toContain('DB_PASSWORD')
  expect(Object.keys(env)).not.toContain('DATABASE_URL')
  expect((await world.server.ask('harbour', '/')).version).toBe('v1')
  expect(await done('preview', 'list')).toContain('harbour-preview-1')
})

test('pushed: it follows, with a variable that was set for it alone', async () => {
  await done('env', 'set', '-e', 'preview-1', 'COLOR=red')
  await tell(1, propose(1, 'pr1-again'), { action: 'synchronize' })
  await shows(1, 'pr1-again')
  expect(JSON.parse((await world.server.ask('harbour-preview-1', '/env')).body)).toMatchObject({ COLOR: 'red', LEVEL: 'quiet' })
})

test('a fork runs once its commit is approved, and only that commit', async () => {
  const sha = propose(2, 'fork')
  expect(await tell(2, sha, { isFork: true, author: '\u001b[31mEve', title: '\u001b]0;x\u0007Look' })).toMatchObject({ code: 'approval' })
  expect((await world.server.ask('harbour-preview-2', '/')).status).toBe(404)
  const shown = await done('preview', 'show', '2')
  expect(shown).toContain(sha)
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what this looks for
  expect(shown + (await done('preview', 'list'))).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f]/)
  expect((await cli('preview', 'approve', '2')).stderr).toContain(`--commit ${sha.slice(0, 12)}`)
  await done('preview', 'approve', '2', '--commit', sha.slice(0, 12))
  await shows(2, 'fork')
  // Another one: pushed over between the approval and the fetch.
  const approved = propose(3, 'seen')
  await tell(3, approved, { isFork: true })
  propose(3, 'unseen')
  await done('preview', 'approve', '3', '--yes')
  const failed = await eventually(async () => {
    const { items } = await world.server.call('GET', '/v1/deployments?environment=preview-3')
    return items.find(({ settled }: { settled: boolean }) => settled) ?? false
  }, WITHIN)
  expect(failed).toMatchObject({ status: 'failed', error: { code: 'REF_NOT_FOUND' } })
})

test('closed, removed by hand: host, instances and environment go, production serves on', async () => {
  await tell(1, repo.git('rev-parse', 'refs/pull/1/head'), { action: 'closed' })
  await done('preview', 'remove', '2')
  await done('preview', 'remove', '#3')
  const left = async () => (await world.server.call('GET', '/v1/services')).items.map((one: { environment: string }) => one.environment)
  await eventually(async () => expect(await left()).toEqual(['production']), WITHIN)
  expect((await world.server.ask('harbour-preview-1', '/')).status).toBe(404)
  expect((await world.server.ask('harbour', '/')).version).toBe('v1')
  expect(await done('environment', 'list')).not.toContain('preview-')
  expect(await done('audit')).toContain('preview.approve')
})
