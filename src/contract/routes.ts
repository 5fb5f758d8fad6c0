import { z } from 'zod'
import { CreateDeployment, Deployment, DeploymentStatus } from './deployment.ts'
import { Event, InstanceLine, LogLine, StreamEnd } from './event.ts'
import { flag, id, integer, limit, name, page, scope, serviceName, text, timestamp } from './primitives.ts'
import { Release } from './release.ts'
import { CreateRollback, RollbackPlan } from './rollback.ts'
import type { RouteSpec } from './route.ts'
import { Health, QueueEntry, ServerView, SetVariables, Upload, Variable, variableName } from './server.ts'
import { Service, ServiceDetail } from './service.ts'

const byId = z.strictObject({ id })
const byService = z.strictObject({ service: serviceName })
const release = integer(1, 2_147_483_647)
const byRelease = z.strictObject({ service: serviceName, release })
const inScope = z.strictObject(scope)
const cursor = text(200).optional()
const LINE_NUMBER_MAX = 2_147_483_647
const lineNumber = integer(0, LINE_NUMBER_MAX)
const eventNumber = integer(0, Number.MAX_SAFE_INTEGER)

/** Every operation of the API, in the order in which the document shows them. */
export const ROUTES = {
  getHealth: {
    method: 'get',
    path: '/v1/health',
    tag: 'server',
    summary: 'Whether the server answers and reaches its database',
    response: Health,
    status: 200,
    isPublic: true,
  },
  getServer: {
    method: 'get',
    path: '/v1/server',
    tag: 'server',
    summary: 'Version, defaults, queue and checks of the server',
    response: ServerView,
    status: 200,
  },
  getOpenApi: {
    method: 'get',
    path: '/v1/openapi.json',
    tag: 'server',
    summary: 'This document',
    response: z.looseObject({}),
    status: 200,
    isPublic: true,
  },
  listServices: {
    method: 'get',
    path: '/v1/services',
    tag: 'services',
    summary: 'Services with what is live and what happened last',
    query: z.strictObject({ ...scope, cursor, limit }),
    response: page(Service),
    status: 200,
  },
  getService: {
    method: 'get',
    path: '/v1/services/{service}',
    tag: 'services',
    summary: 'One service with its instances, live and latest deployment',
    params: byService,
    query: inScope,
    response: ServiceDetail,
    status: 200,
  },
  releaseHold: {
    method: 'delete',
    path: '/v1/services/{service}/hold',
    tag: 'services',
    summary: 'Let automatic deployments go on again; nothing to release is success',
    params: byService,
    query: inScope,
    response: Service,
    status: 200,
  },
  streamServiceLogs: {
    method: 'get',
    path: '/v1/services/{service}/logs',
    tag: 'services',
    summary: 'Lines of all instances of a service, merged; as a stream when text/event-stream is accepted',
    params: byService,
    query: z.strictObject({ ...scope, tail: integer(0, 10_000).default(100), follow: flag.default(true) }),
    response: page(InstanceLine),
    status: 200,
    stream: { only: false, events: { line: InstanceLine, end: StreamEnd } },
  },
  createUpload: {
    method: 'post',
    path: '/v1/uploads',
    tag: 'deployments',
    summary: 'Store a tar or tar.gz of a source tree; the same bytes are stored once',
    query: z.strictObject({ project: name.optional() }),
    body: 'archive',
    response: Upload,
    status: 201,
  },
  createDeployment: {
    method: 'post',
    path: '/v1/deployments',
    tag: 'deployments',
    summary: 'Queue a deployment; a manual one ends the hold of its service',
    body: CreateDeployment,
    response: Deployment,
    status: 202,
  },
  listDeployments: {
    method: 'get',
    path: '/v1/deployments',
    tag: 'deployments',
    summary: 'Deployments, newest first',
    query: z.strictObject({ ...scope, service: serviceName.optional(), status: DeploymentStatus.optional(), cursor, limit }),
    response: page(Deployment),
    status: 200,
  },
  getDeployment: {
    method: 'get',
    path: '/v1/deployments/{id}',
    tag: 'deployments',
    summary: 'One deployment with its stages, error and receipt',
    params: byId,
    response: Deployment,
    status: 200,
  },
  getDeploymentLogs: {
    method: 'get',
    path: '/v1/deployments/{id}/logs',
    tag: 'deployments',
    summary: 'Log lines after a number; as a stream when text/event-stream is accepted',
    params: byId,
    query: z.strictObject({ after: lineNumber.default(0), limit }),
    response: page(LogLine),
    status: 200,
    stream: { only: false, events: { line: LogLine, end: StreamEnd } },
  },
  cancelDeployment: {
    method: 'post',
    path: '/v1/deployments/{id}/cancel',
    tag: 'deployments',
    summary: 'Ask for a cancel: at once while pending, refused from the swap on',
    params: byId,
    response: Deployment,
    status: 202,
  },
  createRollback: {
    method: 'post',
    path: '/v1/rollbacks',
    tag: 'releases',
    summary: 'Queue a rollback to a kept release; holds automatic deployments',
    body: CreateRollback,
    response: Deployment,
    status: 202,
  },
  planRollback: {
    method: 'get',
    path: '/v1/services/{service}/rollback-plan',
    tag: 'releases',
    summary: 'What a rollback would change',
    params: byService,
    query: z.strictObject({
      ...scope,
      release: release.optional(),
      force: flag.default(false),
      variables: z.enum(['sealed', 'current']).default('sealed'),
    }),
    response: RollbackPlan,
    status: 200,
  },
  listReleases: {
    method: 'get',
    path: '/v1/services/{service}/releases',
    tag: 'releases',
    summary: 'Releases of a service, newest first',
    params: byService,
    query: z.strictObject({ ...scope, cursor, limit }),
    response: page(Release),
    status: 200,
  },
  pinRelease: {
    method: 'put',
    path: '/v1/services/{service}/releases/{release}/pin',
    tag: 'releases',
    summary: 'Exempt a release from retention',
    params: byRelease,
    query: inScope,
    response: Release,
    status: 200,
  },
  unpinRelease: {
    method: 'delete',
    path: '/v1/services/{service}/releases/{release}/pin',
    tag: 'releases',
    summary: 'Give a release back to retention',
    params: byRelease,
    query: inScope,
    response: Release,
    status: 200,
  },
  listEvents: {
    method: 'get',
    path: '/v1/events',
    tag: 'events',
    summary: 'The event log, oldest first; as a stream when text/event-stream is accepted',
    query: z.strictObject({
      ...scope,
      service: serviceName.optional(),
      deployment: id.optional(),
      type: text(1000).optional().meta({ description: 'One or several event types, with commas between them.' }),
      since: timestamp.optional(),
      after: eventNumber
        .optional()
        .meta({ description: 'Continue after this number. A page begins at 0; a stream begins with what comes next.' }),
      limit,
    }),
    response: page(Event),
    status: 200,
    stream: { only: false, events: { event: Event, end: StreamEnd } },
  },
  getQueue: {
    method: 'get',
    path: '/v1/queue',
    tag: 'deployments',
    summary: 'What is in progress and what waits, with the reason',
    response: page(QueueEntry),
    status: 200,
  },
  listVariables: {
    method: 'get',
    path: '/v1/variables',
    tag: 'variables',
    summary: 'Names and scopes of variables, never their values',
    query: z.strictObject({ ...scope, service: serviceName.optional() }),
    response: page(Variable),
    status: 200,
  },
  setVariables: {
    method: 'put',
    path: '/v1/variables',
    tag: 'variables',
    summary: 'Set variables; they count from the next deployment on',
    body: SetVariables,
    response: page(Variable),
    status: 200,
  },
  unsetVariable: {
    method: 'delete',
    path: '/v1/variables/{name}',
    tag: 'variables',
    summary: 'Remove a variable in exactly the scope that is named',
    params: z.strictObject({ name: variableName }),
    query: z.strictObject({ ...scope, service: serviceName.optional() }),
    response: null,
    status: 204,
  },
} as const satisfies Record<string, RouteSpec>

export type OperationId = keyof typeof ROUTES
