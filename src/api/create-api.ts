import type { HttpBindings } from '@hono/node-server'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { type Context, Hono } from 'hono'
import { z } from 'zod'
import type { RouteSpec } from '../contract/route.ts'
import { type OperationId, ROUTES } from '../contract/routes.ts'
import { ShiplockError, toShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { assertTrustedHost } from './access.ts'
import { Admission, type Admitted } from './admission.ts'
import { type Access, authorize } from './authorize.ts'
import { ChangeRecord } from './change-record.ts'
import type { ApiDependencies } from './dependencies.ts'
import { FairShare } from './fair-share.ts'
import { Health } from './health.ts'
import { HookDoor } from './hooks.ts'
import { OpenStreams } from './open-streams.ts'
import { parseInput } from './parse-input.ts'
import { problemResponse } from './problem.ts'
import { readJson } from './read-body.ts'
import { type Handlers, type RouteContext, STREAMED } from './route-context.ts'
import { artifactHandlers } from './routes/artifacts.ts'
import { auditHandlers } from './routes/audit.ts'
import { cacheHandlers } from './routes/caches.ts'
import { deploymentHandlers } from './routes/deployments.ts'
import { eventHandlers } from './routes/events.ts'
import { garbageHandlers } from './routes/garbage.ts'
import { memberHandlers } from './routes/members.ts'
import { notificationHandlers } from './routes/notifications.ts'
import { previewHandlers } from './routes/previews.ts'
import { projectHandlers } from './routes/projects.ts'
import { queueHandlers } from './routes/queue.ts'
import { releaseHandlers } from './routes/releases.ts'
import { removalHandlers } from './routes/removals.ts'
import { repositoryHandlers } from './routes/repositories.ts'
import { scaleHandlers } from './routes/scale.ts'
import { scanHandlers } from './routes/scans.ts'
import { sealingKeyHandlers } from './routes/sealing-keys.ts'
import { serverHandlers } from './routes/server.ts'
import { serviceHandlers } from './routes/services.ts'
import { tokenHandlers } from './routes/tokens.ts'
import { variableHandlers } from './routes/variables.ts'
import { webhookHandlers } from './routes/webhooks.ts'
import { runOnce } from './run-once.ts'
import { Topics } from './topics.ts'
import { Turns } from './turns.ts'

type Env = { Bindings: HttpBindings }
export type Api = Hono<Env>

const HANDLERS: Handlers = {
  ...serverHandlers,
  ...serviceHandlers,
  ...scaleHandlers,
  ...deploymentHandlers,
  ...queueHandlers,
  ...scanHandlers,
  ...releaseHandlers,
  ...artifactHandlers,
  ...cacheHandlers,
  ...garbageHandlers,
  ...eventHandlers,
  ...variableHandlers,
  ...projectHandlers,
  ...removalHandlers,
  ...memberHandlers,
  ...tokenHandlers,
  ...auditHandlers,
  ...sealingKeyHandlers,
  ...repositoryHandlers,
  ...webhookHandlers,
  ...previewHandlers,
  ...notificationHandlers,
}
const NOTHING = z.strictObject({})
const CLIENT_GONE = new Error('the client went away')

/** The HTTP API of `ROUTES`, for a Node server (it writes streams to the socket itself). */
export function createApi(dependencies: ApiDependencies): Api {
  const app = new Hono<Env>({ strict: false })
  const shared: Shared = {
    dependencies,
    topics: new Topics(dependencies.database, dependencies.notices, dependencies.logger),
    startedAt: new Date(dependencies.clock.now()).toISOString(),
    streams: new OpenStreams(dependencies.database, dependencies.logger),
    health: new Health(dependencies.database, dependencies.clock),
    turns: new Turns({
      total: LIMITS.requestsAtOnce,
      each: LIMITS.requestsAtOncePerProject,
      waitingEach: LIMITS.requestsWaitingPerProject,
    }),
    uploads: new FairShare({ total: LIMITS.uploadsAtOnce, each: { project: LIMITS.uploadsPerProject } }),
    admission: new Admission(dependencies),
  }
  // Before the check of the Host header: a git host calls by a public name, and shows who it is by its signature.
  const door = new HookDoor(dependencies)
  app.post('/hooks/:id', (context) => door.answer(context.req.param('id'), context.env.incoming))
  app.use(async (context, next) => {
    const { host, origin } = context.env.incoming.headers
    assertTrustedHost({ host, origin }, dependencies.allowedHosts)
    await next()
    context.res.headers.set('x-content-type-options', 'nosniff')
  })
  for (const operationId of Object.keys(ROUTES) as OperationId[]) {
    const spec: RouteSpec = ROUTES[operationId]
    app.on(spec.method.toUpperCase(), honoPath(spec.path), (context) => answer(operationId, spec, context, shared))
  }
  app.get('/openapi.json', (context) => answer('getOpenApi', ROUTES.getOpenApi, context, shared))
  app.notFound((context) => refuseUnknown(context.req.method, context.req.path))
  app.onError((error, context) => refuse(error, context, dependencies))
  return app
}

/** Webhooks and nothing else, for a listener that the internet may reach. */
export function createHooksApi(dependencies: ApiDependencies): Api {
  const app = new Hono<Env>({ strict: false })
  const door = new HookDoor(dependencies)
  app.post('/hooks/:id', (context) => door.answer(context.req.param('id'), context.env.incoming))
  app.notFound(() => problemResponse(new ShiplockError('NOT_FOUND', 'nothing is here', { hint: 'Webhooks are posted to /hooks/<id>.' })))
  return app
}

interface Shared {
  readonly dependencies: ApiDependencies
  readonly topics: Topics
  readonly startedAt: string
  readonly streams: OpenStreams
  readonly health: Health
  readonly uploads: FairShare
  readonly turns: Turns
  readonly admission: Admission
}

interface Asked {
  readonly admitted: Admitted
  readonly given: { readonly params: unknown; readonly query: unknown; readonly body: unknown }
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal
  /** Ends the turn before the handler has: what goes on for long must not keep it. */
  readonly endTurn: () => void
}

async function answer(operationId: OperationId, spec: RouteSpec, context: Context<Env>, shared: Shared): Promise<Response> {
  const { incoming, outgoing } = context.env
  const admitted = await shared.admission.admit(spec, incoming, outgoing)
  const given = {
    params: parseInput(spec.params ?? NOTHING, context.req.param(), 'path'),
    query: parseInput(spec.query ?? NOTHING, singleQuery(context), 'query'),
    body: await readBody(spec, context),
  }
  const gone = new AbortController()
  outgoing.on('close', () => gone.abort(CLIENT_GONE))
  const { signal } = gone
  const holder = admitted.token?.project ?? ''
  const endTurn = spec.needs === undefined ? () => {} : await shared.turns.take(holder, signal)
  try {
    return await handle(operationId, spec, context, shared, { admitted, given, signal, endTurn })
  } finally {
    endTurn()
  }
}

async function handle(
  operationId: OperationId,
  spec: RouteSpec,
  context: Context<Env>,
  shared: Shared,
  { admitted: { actor, access, token }, given, signal, endTurn }: Asked,
): Promise<Response> {
  const { incoming, outgoing } = context.env
  const { database, defaults } = shared.dependencies
  // Before the handler has looked at anything (I10).
  const found = spec.needs === undefined ? null : await authorize(database, access, spec.needs, given, defaults)
  const request = found === null ? given : { ...given, query: found.query }
  const change = spec.audit === undefined || found === null ? null : new ChangeRecord(actor, spec.audit, found.concern, request)
  const wantsStream = spec.stream !== undefined && (incoming.headers.accept ?? '').includes('text/event-stream')
  if (wantsStream || spec.body === 'archive' || spec.response === 'archive') endTurn()
  const routeContext: RouteContext = {
    ...shared,
    dependencies: { ...shared.dependencies, defaults: defaultsOf(access, defaults) },
    actor,
    access,
    incoming,
    outgoing,
    signal,
    wantsStream,
    lastEventId: header(incoming.headers['last-event-id']) ?? null,
    tell: (facts, about) => change?.tell(facts, about),
    openStream: () => shared.streams.open(outgoing, token),
    once: (work, keep) => {
      change?.defer()
      return runOnce(
        database,
        {
          tokenId: actor.tokenId,
          key: header(incoming.headers['idempotency-key']),
          request: JSON.stringify([spec.method, context.req.path, request.query, request.body ?? null]),
          status: spec.status,
        },
        async (tx) => {
          const made = await work(tx)
          await change?.write(tx, made)
          return made
        },
        keep,
      )
    },
  }
  // The table's types tie each handler to its own request and response; TypeScript can't follow that through a loop.
  const handler = HANDLERS[operationId] as (request: unknown, context: RouteContext) => Promise<unknown>
  const body = await handler(request, routeContext)
  // What is not a write of the store, e.g. a cache that was cleared.
  if (change?.isPending === true) await change.write(database, body)
  return respond(spec, body)
}

/** A token of one project or environment need not name it. */
function defaultsOf({ visible }: Access, defaults: ApiDependencies['defaults']): ApiDependencies['defaults'] {
  return { project: visible.project ?? defaults.project, environment: visible.environment ?? defaults.environment }
}

function respond(spec: RouteSpec, body: unknown): Response {
  if (body === STREAMED) return RESPONSE_ALREADY_SENT
  if (spec.response === null) return new Response(null, { status: spec.status })
  return new Response(`${JSON.stringify(body)}\n`, {
    status: spec.status,
    headers: { 'content-type': 'application/json', 'cache-control': 'no-store' },
  })
}

function readBody(spec: RouteSpec, context: Context<Env>): Promise<unknown> {
  const { incoming } = context.env
  if (spec.body === undefined || spec.body === 'archive') return Promise.resolve(undefined)
  const schema = spec.body
  return readJson(incoming, { contentType: incoming.headers['content-type'] }).then((body) => parseInput(schema, body, 'body'))
}

/** A parameter given twice has no one meaning. */
function singleQuery(context: Context<Env>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(context.req.queries()).map(([key, values]) => {
      if (values.length > 1) throw new ShiplockError('INPUT_INVALID', `query.${key.slice(0, 60)}: is given more than once`)
      return [key, values[0] ?? '']
    }),
  )
}

function refuse(error: unknown, { env, req }: Context<Env>, { logger }: ApiDependencies): Response {
  const known = toShiplockError(error)
  // Nobody is left to be answered.
  if (error === CLIENT_GONE) return RESPONSE_ALREADY_SENT
  if (known.code === 'INTERNAL')
    logger.error('a request failed', { method: req.method, path: req.path, error, stack: (error as Error).stack })
  if (env.outgoing.headersSent) {
    // A stream has begun: the reader sees it cut and comes back.
    env.outgoing.destroy()
    return RESPONSE_ALREADY_SENT
  }
  // What was not read of the body must not be taken for the next request.
  const isRead = env.incoming.complete
  return problemResponse(error, {
    ...(known.code === 'RATE_LIMITED' ? { 'retry-after': String(known.details.retryAfterSeconds ?? 5) } : {}),
    ...(isRead ? {} : { connection: 'close' }),
  })
}

function refuseUnknown(method: string, path: string): Response {
  const allowed = Object.values<RouteSpec>(ROUTES).filter((spec) => pathPattern(spec.path).test(path))
  if (allowed.length === 0)
    return problemResponse(
      new ShiplockError('NOT_FOUND', `no ${method} ${path.slice(0, 200)}`, { hint: 'GET /openapi.json lists what there is.' }),
    )
  const allow = [...new Set(allowed.map((spec) => spec.method.toUpperCase()))].join(', ')
  return problemResponse(new ShiplockError('METHOD_NOT_ALLOWED', `${method} is not possible here; ${allow} is`), { allow })
}

const honoPath = (path: string) => path.replaceAll(/\{(\w+)\}/g, ':$1')
const pathPattern = (path: string) => new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}/?$`)
const header = (value: string | string[] | undefined) => (Array.isArray(value) ? value.join(', ') : value)
