import type { z } from 'zod'
import type { ScopedRow, Verb } from '../domain/access.ts'

export type Method = 'get' | 'post' | 'put' | 'delete'

/**
 * How a request says what it concerns. `src/api/authorize.ts` finds it out before the handler is called, and answers for what the token
 * can't see exactly as for what does not exist (I10).
 * - `server`: the whole server; tokens of a project are refused.
 * - `project`: the whole project that is named; tokens of one environment are refused.
 * - `project-shared`: the same, for what belongs to no environment; tokens of one environment may.
 * - `environment`: the environment that is named. What is not named is the token's own, then the server's default.
 * - `scope`: the environment that is named, or without one the whole project.
 * - `visible`: a list or stream of what the token sees. `query.project` and `query.environment`, where the route has them, are set to
 *   the token's own; a handler without them filters by `context.access.visible`.
 * - a row: the project and environment of the row `{id}`.
 */
export type Within = 'server' | 'project' | 'project-shared' | 'environment' | 'scope' | 'visible' | ScopedRow

/** Who may: a token that has the verb in what the request concerns. */
export interface AccessRule {
  readonly verb: Verb
  readonly within: Within
}

/** What the audit log says of a change. */
export interface AuditRule {
  /** Kind and verb: `token.create`. */
  readonly action: string
  /** Keys of path, query or body whose values are written down. Never one that may hold a secret (I8). */
  readonly tells: readonly string[]
}

interface RouteBase {
  readonly method: Method
  /** With `{parameters}`, as OpenAPI writes them. */
  readonly path: string
  readonly summary: string
  readonly tag: string
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  /** `archive`: the raw bytes of a tar or tar.gz, streamed. */
  readonly body?: z.ZodType | 'archive'
  /** null = no body; `archive`: a tar.gz, streamed. */
  readonly response: z.ZodType | 'archive' | null
  readonly status: 200 | 201 | 202 | 204
  /** Also (or only) a stream of server-sent events: what `data` of each named event holds. */
  readonly stream?: { readonly only: boolean; readonly events: Readonly<Record<string, z.ZodType>> }
}

/** Answered without a token. */
interface PublicRoute {
  readonly isPublic: true
  readonly needs?: never
  readonly audit?: never
}
interface ReadingRoute {
  readonly isPublic?: false
  readonly method: 'get'
  readonly needs: AccessRule
  readonly audit?: never
}
interface ChangingRoute {
  readonly isPublic?: false
  readonly method: Exclude<Method, 'get'>
  readonly needs: AccessRule
  readonly audit: AuditRule
}

/**
 * One operation of the API as data: what the server validates, who may, what the audit log keeps, what the OpenAPI document says, what
 * clients are typed by.
 */
export type RouteSpec = RouteBase & (PublicRoute | ReadingRoute | ChangingRoute)

type Output<Schema, Fallback> = Schema extends z.ZodType ? z.output<Schema> : Fallback

export interface RouteRequest<Spec extends RouteSpec> {
  readonly params: Output<Spec['params'], Record<never, never>>
  readonly query: Output<Spec['query'], Record<never, never>>
  readonly body: Output<Spec['body'], undefined>
}
/** What a server may answer with: the schema's input, e.g. readonly arrays welcome. */
export type RouteResponse<Spec extends RouteSpec> = Output<Spec['response'], null>
