import { readFileSync } from 'node:fs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { rawTarGz } from '../support/archives.ts'
import { eventually } from '../support/eventually.ts'
import { HookClient, pushOf, SHA } from '../support/hook-client.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

/**
 * Patterns and names that once held the server for minutes. What is measured is not time but the processor time of the server's main
 * thread within one answer of `/v1/health`: on a busy machine an answer may take long, but only a loop that does not yield makes the
 * server itself work for long before it answers.
 */
const OWN_TIME_MAX_MS = 400
let server: TestServer
let hook: HookClient

beforeAll(async () => {
  server = await startTestServer({ env: { SHIPLOCK_HEAD_CHECK: '0' } })
})
afterAll(disposeServers)

/** ms that the server's main thread has worked. */
function ownTime(): number {
  return Number(readFileSync(`/proc/${server.pid}/task/${server.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6
}

/** Asks for the server's health until `work` is over; gives the most that the server did before one answer, and how many there were. */
async function healthDuring<Result>(work: Promise<Result>): Promise<{ result: Result; worstMs: number; answers: number }> {
  let isOver = false
  const over = work.finally(() => {
    isOver = true
  })
  over.catch(() => {})
  let worstMs = 0
  let answers = 0
  while (!isOver) {
    const before = ownTime()
    const { status } = await fetch(`${server.apiUrl}/v1/health`)
    worstMs = Math.max(worstMs, ownTime() - before)
    expect(status).toBe(200)
    answers += 1
    await new Promise((resolve) => setTimeout(resolve, 25))
  }
  return { result: await over, worstMs, answers }
}

function sourceWith(names: readonly string[], rules: readonly string[]): Buffer {
  return rawTarGz([
    { name: 'index.html', content: '<h1>berth</h1>' },
    { name: '.deployignore', content: `${rules.join('\n')}\n` },
    ...names.map((name) => ({ name: `files/${name}` })),
  ])
}

async function upload(archive: Buffer): Promise<string> {
  const response = await fetch(`${server.apiUrl}/v1/uploads?project=default`, {
    method: 'POST',
    headers: { authorization: `Bearer ${server.token}`, 'content-type': 'application/gzip' },
    body: archive,
  })
  expect(response.status).toBeLessThan(300)
  return ((await response.json()) as { digest: string }).digest
}

async function deployOf(service: string, rules: readonly string[]): Promise<string> {
  // As long as a name in a header of the archive may be.
  const names = Array.from({ length: 600 }, (_, n) => `${'a'.repeat(80)}${n}`)
  const digest = await upload(sourceWith(names, rules))
  return (await server.deploy({ service, source: { kind: 'upload', digest, label: null } })).id
}

/** The case as it was found: every rule is looked at for every name, and none fits. */
const FOUND = Array.from({ length: 4000 }, () => `*${'a'.repeat(60)}b`)
/** Its worse relative, which no text that every match has settles. */
const WORSE = Array.from({ length: 4000 }, () => `*${'a?'.repeat(28)}b*`)

test('I12: a .deployignore of 4000 slow rules is matched against 600 names while the server answers', async () => {
  const id = await deployOf('found', FOUND)
  const { result, worstMs, answers } = await healthDuring(server.settled(id))
  expect(result.status, JSON.stringify(result.error)).toBe('running')
  expect(answers).toBeGreaterThan(3)
  expect(worstMs).toBeLessThan(OWN_TIME_MAX_MS)
})

test('I12: rules that are more work than the bound can be canceled, don’t hold the server after a kill either, and fail with a sentence', async () => {
  const canceled = await deployOf('canceled', WORSE)
  await server.waitFor(canceled, ({ stage }) => stage === 'build')
  await server.call('POST', `/v1/deployments/${canceled}/cancel`)
  expect((await server.settled(canceled)).status).toBe('canceled')
  const killed = await deployOf('killed', WORSE)
  await server.waitFor(killed, ({ stage }) => stage === 'build')
  await server.kill9()
  await server.start()
  const { result, worstMs } = await healthDuring(server.settled(killed))
  expect(result).toMatchObject({
    status: 'failed',
    error: { code: 'WORK_TOO_LARGE', message: expect.stringContaining('.deployignore: 4000 rules against 6') },
  })
  expect(worstMs).toBeLessThan(OWN_TIME_MAX_MS)
})

async function withWatch(service: string, watch: readonly string[]): Promise<void> {
  const yaml = `services:\n  ${service}:\n    run: { staticRoot: . }\n    trigger:\n      watch:\n${watch.map((one) => `        - "${one}"`).join('\n')}\n`
  const digest = await upload(
    rawTarGz([
      { name: 'index.html', content: '<h1>berth</h1>' },
      { name: 'shiplock.yaml', content: yaml },
    ]),
  )
  await server.deployed({ service, source: { kind: 'upload', digest, label: null } })
  const repository = 'https://git.example.com/quayside/harbour.git'
  const made = await server.call('POST', '/v1/webhooks', { service, provider: 'github', repository })
  hook = new HookClient(made, server.apiUrl)
}

async function settled(delivery: string): Promise<{ verdict: string; code: string | null; reason: string }> {
  return eventually(
    async () => {
      const { items } = await server.call('GET', `/v1/webhooks/${hook.id}/deliveries`)
      return items.find((one: { id: string; verdict: string }) => one.id === delivery && one.verdict !== 'received') ?? false
    },
    { withinMs: 60_000 },
  )
}

const LONG_PATHS = Array.from({ length: 20 }, (_, n) => 'a'.repeat(1000 + n))

test('I12: a push whose paths 200 slow patterns must be tried on is decided while the server answers', async () => {
  await withWatch(
    'watched',
    Array.from({ length: 200 }, () => `*${'a'.repeat(511)}b`),
  )
  const { body } = await hook.send(pushOf(SHA('a'), SHA('b'), { files: LONG_PATHS }))
  const { result, worstMs } = await healthDuring(settled(body.delivery))
  expect(result).toMatchObject({ verdict: 'skipped', code: 'watch' })
  expect(worstMs).toBeLessThan(OWN_TIME_MAX_MS)
})

test('I12: a push that can’t be decided within the bound is settled, with the reason, and is not tried for ever', async () => {
  await withWatch(
    'undecidable',
    Array.from({ length: 200 }, () => `*${'a?'.repeat(255)}b*`),
  )
  const files = Array.from({ length: 2000 }, (_, n) => `${'a'.repeat(900)}${n}`)
  const { body } = await hook.send(pushOf(SHA('c'), SHA('d'), { files }))
  const { result, worstMs } = await healthDuring(settled(body.delivery))
  expect(result).toMatchObject({ verdict: 'failed', code: 'undecidable' })
  expect(result.reason).toContain('trigger.watch: 200 patterns against 2000 changed paths is more work than the bound of')
  expect(worstMs).toBeLessThan(OWN_TIME_MAX_MS)
  const after = await hook.send(pushOf(SHA('d'), SHA('e'), { files: ['README.md'] }))
  expect((await settled(after.body.delivery)).code).toBe('watch')
})
