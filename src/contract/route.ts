import type { z } from 'zod'

export type Method = 'get' | 'post' | 'put' | 'delete'

/** One operation of the API as data: what the server validates, what the OpenAPI document says, what clients are typed by. */
export interface RouteSpec {
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
  /** Answered without a token. */
  readonly isPublic?: boolean
}

type Output<Schema, Fallback> = Schema extends z.ZodType ? z.output<Schema> : Fallback

export interface RouteRequest<Spec extends RouteSpec> {
  readonly params: Output<Spec['params'], Record<never, never>>
  readonly query: Output<Spec['query'], Record<never, never>>
  readonly body: Output<Spec['body'], undefined>
}
/** What a server may answer with: the schema's input, e.g. readonly arrays welcome. */
export type RouteResponse<Spec extends RouteSpec> = Output<Spec['response'], null>
