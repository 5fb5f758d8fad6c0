import type { IncomingMessage, ServerResponse } from 'node:http'
import type { RouteRequest, RouteResponse } from '../contract/route.ts'
import type { OperationId, ROUTES } from '../contract/routes.ts'
import type { Queryable } from '../store/database.ts'
import type { Actor } from './access.ts'
import type { Access } from './authorize.ts'
import type { ApiDependencies } from './dependencies.ts'
import type { FairShare } from './fair-share.ts'
import type { Health } from './health.ts'
import type { SseConnection } from './sse.ts'
import type { Topics } from './topics.ts'

/** What every handler is given beside the parsed request. */
export interface RouteContext {
  /** Its defaults are those of the token: a token of one project or environment need not name it. */
  readonly dependencies: ApiDependencies
  readonly topics: Topics
  readonly startedAt: string
  readonly health: Health
  /** Uploads that are on their way in. */
  readonly uploads: FairShare
  readonly actor: Actor
  /** What the token may see and do. The rule of the route has been applied already; lists filter by `access.visible`. */
  readonly access: Access
  /** Adds facts to what the audit log says of this change; `about` names what it was done to better than the request does. */
  tell(facts: Readonly<Record<string, unknown>>, about?: { readonly target?: string; readonly project?: string }): void
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
  /** Aborts when the client is gone. */
  readonly signal: AbortSignal
  readonly wantsStream: boolean
  /** Of a stream that continues. */
  readonly lastEventId: string | null
  /** Begins a stream of events on this response; the handler's result is then `STREAMED`. */
  openStream(): SseConnection
  /**
   * Runs an effect and its line in the audit log in one transaction; with an Idempotency-Key, once for all requests with
   * that key. `keep`: what of the answer is kept for them, when it holds a secret that is shown once.
   */
  once<Body>(work: (tx: Queryable) => Promise<Body>, keep?: (body: Body) => Body): Promise<Body>
}

export const STREAMED = Symbol('streamed')

export type Handler<Id extends OperationId> = (
  request: RouteRequest<(typeof ROUTES)[Id]>,
  context: RouteContext,
) => Promise<RouteResponse<(typeof ROUTES)[Id]> | typeof STREAMED>

export type Handlers<Ids extends OperationId = OperationId> = { readonly [Id in Ids]: Handler<Id> }
