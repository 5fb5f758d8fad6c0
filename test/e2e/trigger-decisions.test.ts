import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { ShiplockError } from '../../src/core/errors.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/log.ts'
import { decideNext, revisitNext } from '../../src/engine/triggers/decider.ts'
import type { TriggerDependencies } from '../../src/engine/triggers/dependencies.ts'
import { lookAtHeads } from '../../src/engine/triggers/look-at-heads.ts'
import type { RemoteHeads } from '../../src/sources/source.ts'
import { matchTrigger } from '../../src/sources/webhooks/trigger-matchers.ts'
import type { SaidTrigger } from '../../src/store/sql/deploy-rules.ts'
import { type DueHeadCheck, takeDueHeadChecks } from '../../src/store/sql/webhooks.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import { HookClient, pushOf, SHA } from '../support/hook-client.ts'
import { SAID, sayRules } from '../support/said-rules.ts'

let api: ApiFixture
let hook: HookClient
let remote: RemoteHeads = { defaultBranch: 'main', branches: new Map() }
const dependencies = (): TriggerDependencies => ({
  database: api.database,
  clock: systemClock,
  logger: silentLogger,
  matchTrigger,
  validateSource: (source) => {
    if (source.kind === 'git' && source.ref?.includes('~')) throw new ShiplockError('SOURCE_REFUSED', 'the ref holds `~`')
  },
  readHeads: async () => remote,
  previewHost: ({ service, number }) => `${service}-preview-${number}.localhost`,
  headCheckMs: 60_000,
})

beforeAll(async () => {
  api = await startApi({ ratesPerMinute: { perToken: 1e6, anonymous: 1e6, failures: 1e6 } })
})
afterAll(() => api?.stop())
// A service of its own for each test.
let service: string
beforeEach(async () => {
  service = `s-${randomUUID().slice(0, 8)}`
  hook = await HookClient.create(api, service)
  await rules({ branch: 'main' })
})

async function rules(given: SaidTrigger): Promise<void> {
  const [{ id } = { id: '' }] = await api.database.query<{ id: string }>(
    `select se.id from service_environments se join services s on s.id = se.service_id join environments e on e.id = se.environment_id
      where s.name = $1 and e.name = 'production'`,
    [service],
  )
  await sayRules(api.database, id, given)
}
const settle = async () => {
  while (await decideNext(dependencies(), new AbortController().signal)) {}
  while (await revisitNext(dependencies(), new AbortController().signal)) {}
}
const deployments = () =>
  api.database.query<{ id: string; trigger: Record<string, unknown>; source: Record<string, unknown>; status: string }>(
    `select d.id, d.trigger, d.source, d.status from deployments d join services s on s.id = d.service_id where s.name = $1 and d.id not like $2 || '%' order by d.position`,
    [service, SAID],
  )
const latest = async () => (await api.call('GET', `/v1/webhooks/${hook.id}/deliveries?limit=1`)).body.items[0]
const push = async (...given: Parameters<typeof pushOf>) => {
  expect((await hook.send(pushOf(...given))).status).toBe(202)
  await settle()
  return latest()
}

describe('a push', () => {
  test('to the branch is queued: from the configured repository, with who pushed and which delivery', async () => {
    const delivery = await push(SHA('a'), SHA('b'))
    const [made] = await deployments()
    expect(delivery).toMatchObject({ verdict: 'queued', deploymentIds: [made?.id], reason: 'push to branch main' })
    expect(made?.source).toEqual({ kind: 'git', url: 'https://git.example.com/quayside/harbour.git', ref: 'refs/heads/main' })
    expect(made?.trigger).toMatchObject({
      kind: 'webhook',
      actor: 'mara',
      push: {
        provider: 'github',
        deliveryId: delivery.id,
        ref: 'refs/heads/main',
        commit: SHA('b'),
        author: 'Mara',
        message: 'Berth plan',
      },
    })
  })

  test.each([
    ['to another branch', pushOf(SHA('a'), SHA('b'), { branch: 'topic' }), {}, 'branch'],
    ['of no watched path', pushOf(SHA('a'), SHA('b'), { files: ['docs/x.md'] }), { watch: ['api/**'] }, 'watch'],
    ['with a skip word', pushOf(SHA('a'), SHA('b'), { message: 'Fix typo [ci skip]' }), {}, 'skip-word'],
    ['that deletes', { ...pushOf(SHA('a'), SHA('b')), after: SHA('0'), deleted: true, head_commit: null, commits: [] }, {}, 'deletion'],
    ['of a tag', { ...pushOf(SHA('a'), SHA('b')), ref: 'refs/tags/v1' }, {}, 'tag'],
  ])('%s is skipped, with the reason', async (_, payload, more, code) => {
    await rules({ branch: 'main', ...more })
    expect((await hook.send(payload)).status).toBe(202)
    await settle()
    expect(await latest()).toMatchObject({ verdict: 'skipped', code, decisions: [{ environment: 'production', final: true }] })
    expect(await deployments()).toEqual([])
  })

  test('of a watched path, of a tag that matches, and forced, deploys', async () => {
    await rules({ branch: 'main', tags: 'v*', watch: ['api/**'] })
    expect(await push(SHA('a'), SHA('b'))).toMatchObject({ verdict: 'queued' })
    await hook.send({ ...pushOf(SHA('0'), SHA('c')), ref: 'refs/tags/v1.2' })
    await hook.send({ ...pushOf(SHA('b'), SHA('d'), { files: ['README.md'] }), forced: true })
    await settle()
    expect((await latest()).reason).toContain('which paths changed can’t be told')
    expect((await deployments()).map(({ source }) => source.ref)).toEqual(['refs/heads/main', 'refs/tags/v1.2', 'refs/heads/main'])
  })

  test('goes to each environment by its branch; previews follow their pull request', async () => {
    for (const [name, branch] of [
      ['staging', 'develop'],
      ['preview-7', 'develop'],
    ]) {
      await api.database.query(
        `with e as (insert into environments (id, project_id, name, branch) select $1 || $3, p.id, $1 || $3, $2 from projects p where p.name = 'default' returning *)
         insert into service_environments (id, project_id, environment_id, service_id, host)
         select 'sen_' || $1 || $3, e.project_id, e.id, s.id, $1 || $3 || '.localhost' from e, services s where s.name = $3`,
        [name, branch, service],
      )
    }
    await api.database.query('update environments set is_preview = true where id = $1', [`preview-7${service}`])
    const delivery = await push(SHA('a'), SHA('b'), { branch: 'develop' })
    expect(delivery.decisions.map(({ environment, verdict }: Record<string, string>) => [environment, verdict])).toEqual([
      ['production', 'skipped'],
      [`staging${service}`, 'queued'],
    ])
  })

  test('of a ref that is never given to git is skipped', async () => {
    await rules({ branch: 'a~b' })
    expect(await push(SHA('a'), SHA('b'), { branch: 'a~b' })).toMatchObject({ verdict: 'skipped', code: 'unusable-ref' })
  })

  test('with the queue full waits for room', async () => {
    await api.database.query(
      `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts)
       select $1 || n, se.project_id, se.environment_id, se.service_id, se.id, 'deploy', '{"kind": "upload"}', '{}', '{}', '{"revision": null}'
         from service_environments se join services s on s.id = se.service_id, generate_series(1, 1000) n where s.name = $1`,
      [service],
    )
    const delivery = await push(SHA('a'), SHA('b'))
    expect(delivery).toMatchObject({ verdict: 'skipped', code: 'queue-full', decisions: [{ final: false }] })
    await api.database.query(`delete from deployments where id like $1 || '%'`, [service])
    await settle()
    expect(await latest()).toMatchObject({ verdict: 'queued' })
    await api.database.query(`update deployments set status = 'canceled', settled = true, settled_at = now() where status = 'pending'`)
  })
})

describe('order', () => {
  test('a push that arrives after the one made on top of it is overtaken', async () => {
    expect(await push(SHA('a'), SHA('b'))).toMatchObject({ verdict: 'queued' })
    expect(await push(SHA('c'), SHA('d'))).toMatchObject({ verdict: 'queued' })
    expect(await push(SHA('b'), SHA('c'))).toMatchObject({ verdict: 'skipped', code: 'overtaken' })
    const commits = (await deployments()).map(({ trigger }) => (trigger.push as { commit: string | null }).commit)
    // Between b and d something is missing, so the tip is what counts.
    expect(commits).toEqual([SHA('b'), null])
  })

  test('a commit that a second webhook tells of is known', async () => {
    await push(SHA('a'), SHA('b'))
    const second = await HookClient.create(api, service)
    await second.send(pushOf(SHA('a'), SHA('b')))
    await settle()
    expect((await api.call('GET', `/v1/webhooks/${second.id}/deliveries`)).body.items[0]).toMatchObject({
      verdict: 'skipped',
      code: 'known',
    })
    expect(await deployments()).toHaveLength(1)
  })

  test('a forced push back to an earlier commit deploys it again', async () => {
    await push(SHA('a'), SHA('b'))
    await push(SHA('b'), SHA('c'))
    await hook.send({ ...pushOf(SHA('c'), SHA('b')), forced: true })
    await settle()
    expect(await deployments()).toHaveLength(3)
  })

  test('a replay decides again what was decided, and says what it repeats', async () => {
    const first = await push(SHA('a'), SHA('b'))
    const replay = await api.call('POST', `/v1/webhooks/${hook.id}/deliveries/${first.id}/replay`)
    expect(replay).toMatchObject({ status: 202, body: { replayOf: first.id, verdict: 'received' } })
    await settle()
    expect(await latest()).toMatchObject({ id: replay.body.id, verdict: 'queued' })
    expect(await deployments()).toHaveLength(2)
    await push(SHA('b'), SHA('c'))
    await api.call('POST', `/v1/webhooks/${hook.id}/deliveries/${first.id}/replay`)
    await settle()
    const [head] = await api.database.query(
      `select sha from branch_heads b join service_environments se on se.id = b.service_environment_id join services s on s.id = se.service_id
        where s.name = $1`,
      [service],
    )
    // The branch is where it was, for whoever looks at it.
    expect(head).toEqual({ sha: SHA('c') })
    await hook.send({ zen: 'x' }, { event: 'ping' })
    expect((await api.call('POST', `/v1/webhooks/${hook.id}/deliveries/${(await latest()).id}/replay`)).status).toBe(409)
  })
})

describe('hold and freeze', () => {
  test('a push during a hold waits, the newest counts, and is queued once it is lifted', async () => {
    await api.database.query(
      `update service_environments se set hold = '{"reason": "rolled back to v1", "by": "mara", "since": "2026-01-01T00:00:00Z"}'
         from services s where s.id = se.service_id and s.name = $1`,
      [service],
    )
    await push(SHA('a'), SHA('b'))
    const held = await push(SHA('b'), SHA('c'))
    expect(held).toMatchObject({ verdict: 'skipped', code: 'held', decisions: [{ final: false }] })
    expect((await api.call('DELETE', `/v1/services/${service}/hold`)).status).toBe(200)
    await settle()
    expect(await latest()).toMatchObject({ id: held.id, verdict: 'queued' })
    expect((await deployments()).map(({ trigger }) => (trigger.push as { commit: string }).commit)).toEqual([SHA('c')])
    await settle()
    expect(await deployments()).toHaveLength(1)
  })

  test('what was deployed by hand meanwhile is not deployed again', async () => {
    await api.call('POST', '/v1/freezes', { environment: 'production', reason: 'sale' })
    await push(SHA('a'), SHA('b'))
    expect(await latest()).toMatchObject({ code: 'frozen' })
    await api.database.query(
      `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts)
       select $1 || 'hand', se.project_id, se.environment_id, se.service_id, se.id, 'deploy', '{"kind": "git"}', '{}', '{}', $2
         from service_environments se join services s on s.id = se.service_id where s.name = $1`,
      [service, JSON.stringify({ revision: null })],
    )
    await api.call('DELETE', '/v1/freezes?environment=production')
    await settle()
    // It may turn out to be the very commit: nothing is decided before its fetch.
    expect(await deployments()).toHaveLength(1)
    await api.database.query(`update deployments set facts = $2 where id = $1 || 'hand'`, [
      service,
      JSON.stringify({ revision: { commit: SHA('b') } }),
    ])
    await settle()
    expect(await deployments()).toHaveLength(1)
    const [head] = await api.database.query(
      `select code, is_final from branch_heads b join service_environments se on se.id = b.service_environment_id
      join services s on s.id = se.service_id where s.name = $1`,
      [service],
    )
    expect(head).toEqual({ code: 'known', is_final: true })
  })
})

describe('I5: crashes and several servers', () => {
  test('killed between the decision and its commit, a delivery is decided exactly once', async () => {
    await hook.send(pushOf(SHA('a'), SHA('b')))
    const dying: TriggerDependencies = {
      ...dependencies(),
      database: {
        ...api.database,
        query: () => Promise.reject(new Error('killed')),
        transaction: (work) =>
          api.database.transaction(async (tx) => {
            await work(tx)
            throw new Error('killed')
          }),
      },
    }
    await expect(decideNext(dying, new AbortController().signal)).rejects.toThrow('killed')
    expect(await deployments()).toEqual([])
    expect(await latest()).toMatchObject({ verdict: 'received' })
    await settle()
    expect(await deployments()).toHaveLength(1)
    await settle()
    expect(await deployments()).toHaveLength(1)
  })

  test('many deciders at once decide each delivery once, those of a service in order', async () => {
    const chain = Array.from({ length: 12 }, (_, n) => n.toString(16))
    for (const [n, digit] of chain.slice(1).entries()) await hook.send(pushOf(SHA(chain[n] ?? '0'), SHA(digit)))
    await Promise.all(Array.from({ length: 6 }, settle))
    await settle()
    expect((await deployments()).map(({ trigger }) => (trigger.push as { commit: string }).commit)).toEqual(
      chain.slice(1).map((digit) => SHA(digit)),
    )
  })

  test('I12: one whose decision never comes to an end is given up after a number of tries, and those after it are decided', async () => {
    await hook.send(pushOf(SHA('a'), SHA('b')))
    const { matchTrigger: _, ...rest } = dependencies()
    await rules({ branch: 'main', watch: ['api'] })
    // As if the server had been killed each time while it matched.
    const dying = { ...rest, matchTrigger: () => Promise.reject(Object.assign(new Error('killed'), { name: 'AbortError' })) }
    const killed = AbortSignal.abort(new Error('killed'))
    for (let tries = 0; tries < LIMITS.deliveryTries; tries++) await expect(decideNext(dying, killed)).rejects.toThrow('killed')
    expect(await latest()).toMatchObject({ verdict: 'received' })
    expect(await decideNext(dying, killed)).toBe(true)
    expect(await latest()).toMatchObject({ verdict: 'failed', code: 'undecidable', reason: expect.stringContaining('20 times') })
    await hook.send(pushOf(SHA('b'), SHA('c')))
    await settle()
    expect(await latest()).toMatchObject({ verdict: 'queued' })
  })

  test('one that can’t be decided does not stand in the way of those after it', async () => {
    await hook.send(pushOf(SHA('a'), SHA('b')))
    await hook.send(pushOf(SHA('b'), SHA('c')))
    await api.database.query(
      `update webhook_deliveries set parsed = '{"kind": "push"}' where webhook_id = $1 and position =
      (select min(position) from webhook_deliveries where webhook_id = $1)`,
      [hook.id],
    )
    await settle()
    const verdicts = (await api.call('GET', `/v1/webhooks/${hook.id}/deliveries`)).body.items.map(
      ({ verdict }: { verdict: string }) => verdict,
    )
    expect(verdicts).toEqual(['queued', 'failed'])
  })
})

describe('the look at the branch heads', () => {
  const look = async () => {
    await api.database.query("update webhooks set next_head_check_at = case when id = $1 then now() else now() + interval '1 day' end", [
      hook.id,
    ])
    for (const due of await takeDueHeadChecks(api.database, 10, 60_000))
      await lookAtHeads(dependencies(), due, new AbortController().signal)
    await settle()
  }
  const note = async () => (await api.call('GET', `/v1/webhooks/${hook.id}`)).body.headCheck.note

  test('begins with what it finds, then catches the push that never arrived, and says so', async () => {
    remote = { defaultBranch: 'main', branches: new Map([['main', SHA('a')]]) }
    await look()
    expect(await deployments()).toEqual([])
    expect(await note()).toBe('production: main is at aaaaaaaaaaaa, as a beginning')
    remote = { defaultBranch: 'main', branches: new Map([['main', SHA('b')]]) }
    await look()
    const [made] = await deployments()
    expect(made?.trigger).toMatchObject({ kind: 'schedule', push: { commit: SHA('b') } })
    expect(await latest()).toMatchObject({ event: 'head-check', verdict: 'queued' })
    // The delivery that was late after all.
    expect(await push(SHA('a'), SHA('b'))).toMatchObject({
      verdict: 'skipped',
      code: 'known',
      reason: expect.stringContaining('look at the branch heads'),
    })
    await look()
    expect(await deployments()).toHaveLength(1)
    expect(await note()).toContain('as known')
  })

  test('does not deploy again what is live: a tag brought it, or somebody by hand', async () => {
    remote = { defaultBranch: 'main', branches: new Map([['main', SHA('a')]]) }
    await look()
    await api.database.query(
      `insert into deployments (id, project_id, environment_id, service_id, service_environment_id, kind, source, trigger, options, facts, status, settled, settled_at)
       select $1 || 'live', se.project_id, se.environment_id, se.service_id, se.id, 'deploy', '{"kind": "git"}', '{}', '{}', $2, 'running', true, now()
         from service_environments se join services s on s.id = se.service_id where s.name = $1`,
      [service, JSON.stringify({ revision: { commit: SHA('b') } })],
    )
    remote = { defaultBranch: 'main', branches: new Map([['main', SHA('b')]]) }
    await look()
    expect(await deployments()).toHaveLength(1)
    expect(await latest()).toMatchObject({ verdict: 'skipped', code: 'known', reason: expect.stringContaining('is live already') })
    await look()
    expect(await note()).toContain('as known')
  })

  test('leaves alone what a delivery has told, skipped or not', async () => {
    await push(SHA('a'), SHA('b'), { message: 'no [skip ci]' })
    remote = { defaultBranch: 'main', branches: new Map([['main', SHA('b')]]) }
    await look()
    expect(await deployments()).toEqual([])
  })

  test('a repository that can’t be asked is asked less and less often, and says why', async () => {
    const failing = {
      ...dependencies(),
      readHeads: () => Promise.reject(new ShiplockError('SOURCE_UNREACHABLE', 'no route to git.example.com')),
    }
    const [found] = await api.database.query<DueHeadCheck>(
      'select id, project_id as "projectId", service_id as "serviceId", provider, repository from webhooks where id = $1',
      [hook.id],
    )
    if (found === undefined) throw new Error('no webhook')
    for (const failures of [0, 1, 2]) await lookAtHeads(failing, { ...found, failures }, new AbortController().signal)
    expect(await note()).toBe('the repository could not be asked (3 in a row): no route to git.example.com')
    const [{ pause } = { pause: 0 }] = await api.database.query<{ pause: number }>(
      'select extract(epoch from next_head_check_at - now())::int as pause from webhooks where id = $1',
      [hook.id],
    )
    expect(pause).toBeGreaterThan(400)
  })
})

test('I9: hostile names come out of the API printable', async () => {
  const evil = '\u001b[2J\u202eevil\u0000\u0007'
  await rules({ branch: `main` })
  await hook.send(pushOf(SHA('a'), SHA('b'), { message: `${evil}\nsecond`, author: evil }))
  await hook.send({ ...pushOf(SHA('a'), SHA('b')), ref: `refs/heads/${evil}` })
  await settle()
  const text = JSON.stringify([await deployments(), (await api.call('GET', `/v1/webhooks/${hook.id}/deliveries`)).body])
  expect(text).toContain('evil')
  expect(text).not.toMatch(/\\u001b|\u202e|\\u0000|\\u0007/)
})
