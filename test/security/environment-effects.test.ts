import { afterAll, beforeAll, expect, test } from 'vitest'
import type { RouteSpec, Within } from '../../src/contract/route.ts'
import { type OperationId, ROUTES } from '../../src/contract/routes.ts'
import { silentLogger } from '../../src/core/log.ts'
import { ROLE_VERBS, type Role, type ScopedRow } from '../../src/domain/access.ts'
import type { Database } from '../../src/store/database.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import { archiveOf, type Outside, outside, untilAtRest } from '../support/outside.ts'
import { StoryWorld } from '../support/story-world.ts'
import type { Reach } from '../support/table-scopes.ts'
import { type TcpPostgres, tcpPostgres } from '../support/tcp-postgres.ts'

/**
 * I14 (and I10) by effects: every change that the API can make is made with narrow rights, on what they reach and on what they don't, and
 * everything that they don't reach is compared before and after: rows, what deploys next, routes, answers, files. Whoever adds a change
 * has to say here what it is asked for (`CHANGES`: the compiler asks for it).
 */
type ChangeId = { [Id in OperationId]: (typeof ROUTES)[Id]['method'] extends 'get' ? never : Id }[OperationId]

/** What may be named: of one's own environment, of another one, of another project. */
interface Names {
  readonly project: string
  readonly environment: string
  readonly service: string
  readonly deployment: string
  readonly digest: string
  readonly token: string
  readonly webhook: string
  readonly delivery: string
  readonly target: string
}
interface Asked {
  readonly query?: Readonly<Record<string, string>>
  readonly body?: unknown
}

const NOTHING: readonly Asked[] = [{}]
const SOON = { forMs: 60_000 }
/** Answers at once, and is nobody. */
const NOWHERE = 'http://127.0.0.1:1/told'
const KEY_LINE = 'git.example.com ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl'

const CHANGES: Readonly<Record<ChangeId, (names: Names) => readonly Asked[]>> = {
  createProject: ({ project }) => [{ body: { name: project } }, { body: { name: 'mine-too' } }],
  setProjectLimits: () => [{ body: { services: 0, concurrentBuilds: 1 } }],
  deleteProject: ({ project }) => [{ query: { confirm: project } }],
  createEnvironment: ({ project, environment }) => [
    { body: { project, name: environment, branch: 'evil' } },
    { body: { project, name: 'extra' } },
  ],
  changeEnvironment: () => [{ body: { branch: 'evil' } }],
  addMember: ({ project }) => [{ body: { project, name: 'eve', role: 'owner' } }],
  changeMember: () => [{ body: { role: 'viewer' } }],
  removeMember: () => NOTHING,
  createToken: ({ project, environment }) => [
    { body: { project, name: 'wide', role: 'developer' } },
    { body: { project, environment, name: 'narrow', role: 'developer' } },
  ],
  createServerToken: () => [{ body: { name: 'root', role: 'owner' } }],
  revokeToken: () => NOTHING,
  createFreeze: ({ project, environment }) => [
    { body: { project, environment, reason: 'x', ...SOON } },
    { body: { project, reason: 'x', ...SOON } },
  ],
  liftFreeze: () => NOTHING,
  scaleService: () => [{ body: { instances: 2 } }],
  releaseHold: () => NOTHING,
  createUpload: () => NOTHING,
  createDeployment: ({ project, environment, service, digest }) => [
    { body: { project, environment, service } },
    { body: { project, environment, service, source: { kind: 'upload', digest } } },
    { body: { service } },
    { body: { project, environment, service: 'fresh', source: { kind: 'upload', digest } } },
    { body: { project, environment, service, options: { overrideFreeze: 'because', configPath: 'evil.yaml' } } },
  ],
  cancelDeployment: () => NOTHING,
  createRollback: ({ project, environment, service }) => [
    { body: { project, environment, service, release: 1 } },
    { body: { project, environment, service, force: true } },
  ],
  pinRelease: () => NOTHING,
  unpinRelease: () => NOTHING,
  clearCache: () => [{ query: { layer: 'all' } }, { query: { layer: 'run' } }],
  setVariables: ({ project, environment, service }) => [
    { body: { project, environment, service, variables: { SHARED: 'evil', NEW: 'evil' } } },
    { body: { project, environment, variables: { SHARED: 'evil' } } },
    { body: { project, service, variables: { SHARED: 'evil' }, secret: true, forPreviews: true } },
    { body: { project, variables: { SHARED: 'evil' } } },
  ],
  unsetVariable: ({ environment }) => [{ query: { environment } }, {}],
  rotateSealingKey: () => NOTHING,
  createDeployKey: () => [{ query: { replace: 'true' } }],
  removeDeployKey: () => NOTHING,
  pinHostKeys: () => [{ body: { lines: [KEY_LINE] } }],
  setGitToken: () => [{ body: { token: 'x'.repeat(20) } }],
  removeGitToken: () => NOTHING,
  removeService: () => [{ query: { cancel: 'true' } }],
  removeEnvironment: () => [{ query: { cancel: 'true' } }],
  approvePreview: ({ project }) => [{ body: { project, commit: 'a'.repeat(40) } }],
  removePreview: () => NOTHING,
  collectGarbage: () => NOTHING,
  createWebhook: ({ project, environment, service }) => [
    {
      body: {
        project,
        environment,
        service,
        provider: 'github',
        repository: 'https://git.example.com/evil.git',
        previews: { template: environment },
      },
    },
    { body: { project, service, provider: 'github' } },
  ],
  updateWebhook: () => [
    { body: { repository: 'https://git.example.com/evil.git', checksHeads: false, previews: { template: 'production', forks: 'always' } } },
    { body: { enabled: false } },
  ],
  rotateWebhook: () => [{ body: { overlapSeconds: 0 } }],
  deleteWebhook: () => NOTHING,
  testWebhook: () => NOTHING,
  replayDelivery: () => NOTHING,
  createNotificationTarget: ({ project, environment }) => [
    { body: { project, environment, kind: 'webhook', url: NOWHERE } },
    { body: { project, kind: 'webhook', url: NOWHERE } },
  ],
  deleteNotificationTarget: () => NOTHING,
  testNotificationTarget: () => NOTHING,
}

/** What ends things comes last, so that everything before it finds something. */
const LAST: readonly ChangeId[] = ['revokeToken', 'deleteNotificationTarget', 'unsetVariable', 'removeService', 'removeEnvironment']

const PARAMETERS: Readonly<Record<string, (names: Names) => string>> = {
  project: ({ project }) => project,
  environment: ({ environment }) => environment,
  service: ({ service }) => service,
  delivery: ({ delivery }) => delivery,
  member: () => 'mara',
  name: () => 'SHARED',
  release: () => '1',
  number: () => '7',
  host: () => 'git.example.com',
}
const ROWS: Readonly<Record<ScopedRow, (names: Names) => string>> = {
  deployment: ({ deployment }) => deployment,
  token: ({ token }) => token,
  webhook: ({ webhook }) => webhook,
  notificationTarget: ({ target }) => target,
}

let postgres: TcpPostgres
let database: Database
let world: StoryWorld
const names = new Map<string, Names>()
const ids = new Map<string, string>()

beforeAll(async () => {
  postgres = await tcpPostgres()
  database = openDatabase({ connection: { url: postgres.url }, poolMax: 2, logger: silentLogger })
  world = await StoryWorld.begin({ env: { DATABASE_URL: postgres.url, SHIPLOCK_OUTGOING: 'any', SHIPLOCK_HEAD_CHECK: '1h' } })
  for (const [project, environment] of [
    ['beta', 'production'],
    ['beta', 'staging'],
    ['alpha', 'production'],
  ] as const) {
    names.set(`${project}/${environment}`, await furnish(project, environment))
  }
  for (const { id, name } of await database.query<{ id: string; name: string }>(
    `select e.id, p.name || '/' || e.name as name from environments e join projects p on p.id = e.project_id
     union all select id, name from projects`,
  )) {
    ids.set(name, id)
  }
})
afterAll(async () => {
  await database?.close()
  await StoryWorld.endAll()
  await postgres?.remove()
})

/** Everything that can be named there: a service with two releases, a webhook with a delivery, variables, a token, a target. */
async function furnish(project: string, environment: string): Promise<Names> {
  const { server } = world
  const repo = world.repo('shop', `${project}-${environment}`)
  await server.api('POST', '/v1/projects', { name: project })
  await server.api('POST', '/v1/environments', { project, name: environment })
  const where = { project, environment, service: 'shop' }
  repo.commit('first')
  await server.deployed({ ...where, source: repo.source })
  const build = { cache: ['kept'], buildCommands: ['mkdir -p kept && touch kept/x'] }
  repo.commit(`${project}-${environment}`, {}, { run: { prepareCommands: [`echo ${project} > prepared`] }, build })
  const { id } = await server.deployed({ ...where, source: repo.source })
  await server.call('PUT', '/v1/variables', { ...where, variables: { SHARED: environment } })
  await server.call('PUT', '/v1/variables', { project, variables: { SHARED: project } })
  await server.api('POST', '/v1/members', { project, name: 'mara', role: 'owner' })
  const token = await server.call('POST', '/v1/tokens', { project, environment, name: 'spare', role: 'viewer' })
  const hook = await server.call('POST', '/v1/webhooks', { ...where, provider: 'github', repository: repo.source.url, checksHeads: false })
  const target = await server.call('POST', '/v1/notification-targets', { project, environment, kind: 'webhook', url: NOWHERE })
  const digest = await upload(server.token, project, `${project}-${environment}`)
  await server.call('POST', `/v1/webhooks/${hook.webhook.id}/test`)
  const { items } = await server.call('GET', `/v1/webhooks/${hook.webhook.id}/deliveries`)
  return { ...where, deployment: id, digest, token: token.id, webhook: hook.webhook.id, delivery: items[0].id, target: target.target.id }
}

const send = async (token: string, method: string, path: string, body?: Blob | string, type = 'application/json') => {
  const headers = { authorization: `Bearer ${token}`, ...(body === undefined ? {} : { 'content-type': type }) }
  const response = await fetch(`${world.server.apiUrl}${path}`, { method, headers, ...(body === undefined ? {} : { body }) })
  return { status: response.status, text: await response.text() }
}

/** A tree that deploys and that nobody else has. */
async function upload(token: string, project: string, version: string): Promise<string> {
  const repo = world.repo('shop', `upload-${version}`)
  repo.commit(version)
  const { status, text } = await send(token, 'POST', `/v1/uploads?project=${project}`, await archiveOf(repo.directory), 'application/gzip')
  expect(status, text).toBe(201)
  return JSON.parse(text).digest
}
// ── what is tried

function pathOf(spec: RouteSpec, within: Within, at: Names, asked: Asked): string {
  const path = spec.path.replaceAll(/\{(\w+)\}/g, (_, key: string) => {
    const value = key === 'id' ? ROWS[within as ScopedRow] : PARAMETERS[key]
    if (value === undefined) throw new Error(`what does parameter ${key} name? Say it in PARAMETERS or ROWS`)
    return encodeURIComponent(value(at))
  })
  const shape = Object.keys(spec.query?.shape ?? {})
  const scope = (['project', 'environment', 'service'] as const).filter((key) => shape.includes(key) && !spec.path.includes(`{${key}}`))
  const query = new URLSearchParams({ ...Object.fromEntries(scope.map((key) => [key, at[key]])), ...asked.query })
  // A variable of the wider scope: without its environment.
  if (spec.path.includes('/variables/') && asked.query === undefined) for (const key of ['environment', 'service']) query.delete(key)
  return query.size === 0 ? path : `${path}?${query}`
}

/** Every change but `without`, on what those names stand for. Returns the operations that were let in. */
async function tryAll(token: string, at: Names, without: readonly ChangeId[] = []): Promise<Set<ChangeId>> {
  const letIn = new Set<ChangeId>()
  const order = (Object.keys(CHANGES) as ChangeId[]).filter((id) => !without.includes(id)).sort((a, b) => LAST.indexOf(a) - LAST.indexOf(b))
  for (const id of order) {
    const spec: RouteSpec = ROUTES[id]
    for (const asked of CHANGES[id](at)) {
      const path = pathOf(spec, spec.needs?.within ?? 'server', at, asked)
      const body =
        spec.body === 'archive' ? new Blob(['not an archive']) : asked.body === undefined ? undefined : JSON.stringify(asked.body)
      const { status, text } = await send(token, spec.method.toUpperCase(), path, body)
      expect(status, `${id} ${path} ${text}`).toBeLessThan(500)
      if (![401, 403, 404].includes(status)) letIn.add(id)
    }
  }
  return letIn
}

/** Operations that a role may have in one environment: those have to be let in, or the test proves nothing. */
const OWN_WITHIN: readonly Within[] = ['environment', 'scope', 'deployment', 'token', 'notificationTarget']
const expected = (role: Role) =>
  (Object.keys(CHANGES) as ChangeId[]).filter((id) => {
    const { needs } = ROUTES[id] as RouteSpec
    return needs !== undefined && ROLE_VERBS[role].includes(needs.verb) && OWN_WITHIN.includes(needs.within)
  })

async function expectOutsideSame(reach: Reach, before: Outside, own: string): Promise<void> {
  const after = await outside(world.server, database, reach)
  expect(after.real).toEqual(before.real)
  expect(
    [...before.rows].filter((row) => !after.rows.has(row)),
    'rows that were changed or removed',
  ).toEqual([])
  const added = [...after.rows].filter((row) => !before.rows.has(row))
  // Names of services are a project's, and what somebody did is said of the whole project.
  const isAllowed = (row: string) =>
    (row.startsWith('services: ') && !before.rows.has(row)) || (row.startsWith('audit_log: ') && row.includes(own))
  expect(
    added.filter((row) => !isAllowed(row)),
    'rows that were added',
  ).toEqual([])
}

const nameOf = (place: string) => names.get(place) as Names
const idOf = (place: string) => ids.get(place) as string

test.each(['developer', 'owner'] as const)('I14: whatever a %s of staging does, nothing beyond staging changes', async (role) => {
  const { token, id } = await world.server.call('POST', '/v1/tokens', { project: 'beta', environment: 'staging', name: role, role })
  const own = { ...nameOf('beta/staging'), digest: await upload(token, 'beta', `own-${role}`) }
  await untilAtRest(database)
  const reach = { projectId: idOf('beta'), environmentId: idOf('beta/staging') }
  const before = await outside(world.server, database, reach)
  await tryAll(token, nameOf('alpha/production'))
  await tryAll(token, nameOf('beta/production'))
  // One's own environment, with what others brought.
  await tryAll(token, { ...nameOf('beta/production'), environment: 'staging' }, LAST)
  await untilAtRest(database)
  const letIn = await tryAll(token, own)
  await untilAtRest(database)
  expect(
    expected(role).filter((change) => !letIn.has(change)),
    'never let in',
  ).toEqual([])
  await expectOutsideSame(reach, before, id)
})

test('I10: whatever a developer of a project does, nothing beyond the project changes', async () => {
  const { token, id } = await world.server.call('POST', '/v1/tokens', { project: 'beta', name: 'dev', role: 'developer' })
  await untilAtRest(database)
  const reach = { projectId: idOf('beta'), environmentId: null }
  const before = await outside(world.server, database, reach)
  await tryAll(token, nameOf('alpha/production'))
  await tryAll(token, { ...nameOf('beta/production'), digest: nameOf('alpha/production').digest })
  await tryAll(token, nameOf('beta/production'))
  await untilAtRest(database)
  await expectOutsideSame(reach, before, id)
})
