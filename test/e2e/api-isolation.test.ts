import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { z } from 'zod'
import type { RouteSpec, Within } from '../../src/contract/route.ts'
import { type OperationId, ROUTES } from '../../src/contract/routes.ts'
import { PUBLISHED_HOST_KEYS } from '../../src/core/known-hosts.ts'
import type { ScopedRow } from '../../src/domain/access.ts'
import type { ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { type ApiFixture, startApi } from '../support/api-fixture.ts'
import {
  FOREIGN_ID,
  GHOSTS,
  makeToken,
  type Names,
  resetMine,
  SECRET_MARK,
  seedTwoProjects,
  snapshotOfTheirs,
  THEIRS,
} from '../support/two-projects.ts'

/**
 * I10 for every route there is. Whoever adds one has to say here what of another project its body can name (`BODIES`: the compiler asks
 * for it) and what its parameters mean (`PARAMETERS`, `ROWS`: the test asks for it).
 */
type OperationWithBody = { [Id in OperationId]: (typeof ROUTES)[Id] extends { body: z.ZodType } ? Id : never }[OperationId]

/** Bodies that name as much of another project as there is room for: each is sent. */
const BODIES: Readonly<Record<OperationWithBody, (names: Names) => readonly unknown[]>> = {
  scaleService: () => [{ instances: 3 }],
  createDeployment: ({ project, environment, service, digest }) => [
    { project, environment, service },
    { project, service },
    { service },
    { environment, service: 'web', source: { kind: 'git', url: 'https://example.com/x.git' } },
    { service: 'web', source: { kind: 'upload', digest } },
    { service, environment, source: { kind: 'image', reference: 'example.com/x' } },
  ],
  createRollback: ({ project, environment, service }) => [
    { project, environment, service, release: 1 },
    { service, environment },
    { service },
  ],
  setVariables: ({ project, environment, service, variable }) => [
    { project, variables: { [variable]: 'x' } },
    { project, environment, service, variables: { [variable]: 'x' } },
    { environment, service, variables: { [variable]: 'x' }, secret: true },
  ],
  createFreeze: ({ project, environment }) => [
    { project, reason: 'x' },
    { project, environment, reason: 'x' },
    { environment, reason: 'x' },
  ],
  createProject: ({ project }) => [{ name: project }],
  setProjectLimits: () => [{ services: 0 }],
  createEnvironment: ({ project, environment }) => [{ project, name: environment }, { name: environment }],
  changeEnvironment: () => [{ branch: 'main' }],
  addMember: ({ project, member }) => [
    { project, name: member, role: 'viewer' },
    { name: member, role: 'viewer' },
  ],
  changeMember: () => [{ role: 'viewer' }],
  createToken: ({ project, environment, member }) => [
    { project, name: 'new' },
    { project, environment, member, name: 'new' },
    { environment, name: 'new' },
    { member, name: 'new' },
  ],
  createServerToken: () => [{ name: 'new' }],
  pinHostKeys: () => [{ lines: [PUBLISHED_HOST_KEYS[0]?.line] }],
  createWebhook: ({ project, environment, service }) => [
    { project, service, provider: 'github' },
    { project, environment, service, provider: 'github' },
    { environment, service: 'web', provider: 'github' },
    { service, provider: 'github' },
  ],
  updateWebhook: () => [{ enabled: false }],
  approvePreview: ({ project }) => [{ project, commit: 'a'.repeat(40) }, { commit: 'a'.repeat(40) }],
  rotateWebhook: () => [{ overlapSeconds: 0 }],
  createNotificationTarget: ({ project, environment }) => [
    { project, kind: 'slack', url: 'https://chat.example.com/x' },
    { project, environment, kind: 'slack', url: 'https://chat.example.com/x' },
    { environment, kind: 'slack', url: 'https://chat.example.com/x' },
  ],
  setGitToken: () => [{ token: 'x'.repeat(20) }],
}

/** Path and query parameters that name something of a project. */
const PARAMETERS: Readonly<Record<string, (names: Names) => string>> = {
  project: ({ project }) => project,
  environment: ({ environment }) => environment,
  service: ({ service }) => service,
  member: ({ member }) => member,
  name: ({ variable }) => variable,
  deployment: ({ deployment }) => deployment,
  release: () => '1',
  confirm: ({ project }) => project,
  number: () => '7',
  repository: () => 'https://git.example.com/theirs.git',
  actor: () => 'someone',
  host: () => 'git.example.com',
  delivery: ({ delivery }) => delivery,
}
/** Those that don't. */
const NEUTRAL = [
  'cursor',
  'cancel',
  'dryRun',
  'limit',
  'after',
  'since',
  'tail',
  'follow',
  'status',
  'type',
  'force',
  'variables',
  'layer',
  'action',
  'replace',
]

/** `{id}` of a path, by the kind of row. */
const ROWS: Readonly<Record<ScopedRow, (names: Names) => string>> = {
  deployment: ({ deployment }) => deployment,
  token: ({ token }) => token,
  webhook: ({ webhook }) => webhook,
  notificationTarget: ({ target }) => target,
}

const routes = Object.entries<RouteSpec>(ROUTES) as [OperationId, RouteSpec][]
const guarded = routes.filter(([, spec]) => spec.isPublic !== true)

const NOW = new Date().toISOString()
let api: ApiFixture
let ownerOfMine: string
let developerOfStaging: string
let before: string[]
beforeAll(async () => {
  api = await startApi({
    caches: {
      list: async () => [
        { serviceEnvironmentId: `sen_${FOREIGN_ID}` as ServiceEnvironmentId, layer: 'base', bytes: 1, madeAt: NOW, usedAt: NOW },
      ],
      clear: async (id) => {
        expect(id, 'the cache that is cleared').not.toContain(FOREIGN_ID)
        return { bytes: 0, runtimeLayers: 0 }
      },
    },
  })
  await seedTwoProjects(api.database)
  ownerOfMine = await makeToken(api.database, { project: 'mine', role: 'owner' })
  developerOfStaging = await makeToken(api.database, { project: 'mine', environment: 'staging', role: 'developer' })
})
afterAll(() => api.stop())
beforeEach(async () => {
  await resetMine(api.database)
  before = await snapshotOfTheirs(api.database)
})

interface Attack {
  readonly path: string
  readonly body: unknown
}

/** The same requests for any names: with project and environment named and without, with each body, with each filter. */
function attacksOn(operationId: OperationId, spec: RouteSpec, names: Names): Attack[] {
  const path = spec.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => encodeURIComponent(parameter(key, spec.needs?.within, names)))
  const shape: Readonly<Record<string, z.ZodType>> = spec.query === undefined ? {} : (spec.query.shape as Record<string, z.ZodType>)
  const keys = Object.keys(shape).filter((key) => !NEUTRAL.includes(key))
  const required = keys.filter((key) => shape[key]?.isOptional() === false)
  const queries = [keys, ...keys.map((key) => [...required, key]), keys.filter((key) => key !== 'project'), required].map((chosen) => {
    const pairs = [...new Set(chosen)].map((key): [string, string] => [key, parameter(key, undefined, names)])
    return new URLSearchParams(pairs).toString()
  })
  const bodies =
    spec.body === undefined ? [undefined] : spec.body === 'archive' ? ['bytes'] : BODIES[operationId as OperationWithBody](names)
  return [...new Set(queries)].flatMap((query) => bodies.map((body) => ({ path: query === '' ? path : `${path}?${query}`, body })))
}

function parameter(key: string, within: Within | undefined, names: Names): string {
  const known = key === 'id' ? ROWS[within as ScopedRow] : PARAMETERS[key]
  if (known === undefined)
    throw new Error(`what of another project does parameter ${key} name? Say it in PARAMETERS or ROWS, or list it as NEUTRAL`)
  return known(names)
}

async function send(spec: RouteSpec, { path, body }: Attack, token: string, accept = 'application/json') {
  const abort = new AbortController()
  const response = await fetch(`${api.url}${path}`, {
    method: spec.method.toUpperCase(),
    headers: { authorization: `Bearer ${token}`, accept, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    signal: abort.signal,
  })
  const type = response.headers.get('content-type') ?? ''
  // A stream of one's own is looked at below.
  if (!type.startsWith('text/event-stream')) return { status: response.status, type, text: await response.text() }
  abort.abort()
  return { status: response.status, type, text: '' }
}

/** What differs by itself between two answers: names that were asked for, and what is drawn anew. */
function comparable(answer: { status: number; type: string; text: string }, names: Names): string {
  let text = `${answer.status} ${answer.type} ${answer.text}`
  for (const value of Object.values(names).sort((a, b) => b.length - a.length)) text = text.replaceAll(value, '<named>')
  return text
    .replaceAll(/\b(dep|env|svc|sen|tok|mem|prj)_[0-9a-z]{20}\b/g, '<id>')
    .replaceAll(/slk_[\w-]{43}/g, '<token>')
    .replaceAll(/AAAAC3NzaC1lZDI1NTE5\S*|SHA256:[\w+/]{43}/g, '<key>')
    .replaceAll(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '<time>')
}

describe('I10: what a project can’t see is for it as if it did not exist', () => {
  test.each(guarded)('%s', async (operationId, spec) => {
    for (const token of [ownerOfMine, developerOfStaging]) {
      const onGhosts = attacksOn(operationId, spec, GHOSTS)
      for (const [at, attack] of attacksOn(operationId, spec, THEIRS).entries()) {
        const what = `${spec.method} ${attack.path} ${JSON.stringify(attack.body)}`
        const answer = await send(spec, attack, token)
        const ghostly = await send(spec, onGhosts[at] as Attack, token)
        expect(answer.status, what).toBeLessThan(500)
        expect(comparable(answer, THEIRS), what).toBe(comparable(ghostly, GHOSTS))
        expect(answer.text, what).not.toContain(SECRET_MARK)
        if (spec.stream !== undefined) {
          const stream = await send(spec, attack, token, 'text/event-stream')
          const ghostStream = await send(spec, onGhosts[at] as Attack, token, 'text/event-stream')
          expect(comparable(stream, THEIRS), `stream of ${what}`).toBe(comparable(ghostStream, GHOSTS))
          expect(stream.text).not.toContain(SECRET_MARK)
        }
      }
    }
    expect(await snapshotOfTheirs(api.database), 'rows of the other project').toEqual(before)
  })

  test('the other project is really there: its own token sees what the others must not', async () => {
    const token = await makeToken(api.database, { project: 'theirs', role: 'owner', id: `tok_eyes_${FOREIGN_ID}` })
    for (const path of [
      '/v1/services',
      `/v1/deployments/${THEIRS.deployment}`,
      '/v1/events',
      '/v1/queue',
      '/v1/members',
      '/v1/audit',
      '/v1/variables',
      '/v1/caches',
      '/v1/freezes',
      '/v1/git-tokens',
      '/v1/services/theirs-web/deploy-key',
    ]) {
      const answer = await send(ROUTES.getQueue, { path, body: undefined }, token)
      expect(answer.status, path).toBe(200)
      expect(answer.text, path).toMatch(new RegExp(`${SECRET_MARK}|theirs`))
    }
    await api.database.query('delete from tokens where id = $1', [`tok_eyes_${FOREIGN_ID}`])
  })

  test('a stream of events has those of one’s own project only', async () => {
    const abort = new AbortController()
    const response = await fetch(`${api.url}/v1/events`, {
      headers: { authorization: `Bearer ${ownerOfMine}`, accept: 'text/event-stream' },
      signal: abort.signal,
    })
    const add = (project: string, message: string) =>
      api.database.query(
        `with added as (insert into events (sequence, type, message, project_id) values (nextval('event_numbers'), 'service.scaled', $2, $1) returning sequence)
         select pg_notify('shiplock', json_build_object('kind', 'events', 'sequence', sequence, 'deploymentId', null)::text) from added`,
        [project, message],
      )
    await add(`prj_${FOREIGN_ID}`, SECRET_MARK)
    await add('prj_own', 'the last one')
    let seen = ''
    for await (const chunk of response.body ?? []) {
      seen += Buffer.from(chunk).toString()
      if (seen.includes('the last one')) break
    }
    abort.abort()
    expect(seen).not.toContain(SECRET_MARK)
  })
})

describe('the end of a project', () => {
  test('takes all its rows with it, and nothing else', async () => {
    const own = () => api.database.query(`select (select count(*) from environments where project_id = 'prj_own') as environments`)
    const [left] = await own()
    await api.database.query(`update instances set state = 'removed'`)
    await api.database.query(`update deployments set settled = true, settled_at = now(), slot = null, status = 'failed' where not settled`)
    const { status, body } = await api.call('DELETE', '/v1/projects/theirs?confirm=theirs')
    expect(status, JSON.stringify(body)).toBe(204)
    const tables = new Set((await snapshotOfTheirs(api.database)).map((row) => row.split(':')[0]))
    // What was said about it stays, and no project sees it.
    expect([...tables].filter((table) => table !== 'events' && table !== 'audit_log')).toEqual([])
    expect(await own()).toEqual([left])
  })
})
