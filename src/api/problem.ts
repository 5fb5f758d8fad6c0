import type { Problem } from '../contract/problem.ts'
import { ERRORS, type ShiplockError, toShiplockError } from '../core/errors.ts'

/** Facts of a database fault are for the server's log. */
const PRIVATE_DETAILS = new Set(['fault', 'isOutcomeUnknown', 'sqlState', 'constraint'])

/** The RFC 9457 form of an error. What an unknown error says stays in the server's log (I8). */
export function toProblem(error: unknown): Problem {
  const known = toShiplockError(error)
  return {
    type: `urn:shiplock:error:${known.code}`,
    title: titleOf(known),
    status: ERRORS[known.code].http,
    detail: known.code === 'INTERNAL' ? 'the server failed; its log says why' : known.message,
    code: known.code,
    hint: known.hint,
    details: Object.fromEntries(Object.entries(known.details).filter(([key]) => !PRIVATE_DETAILS.has(key))),
  }
}

export function problemResponse(error: unknown, headers: Readonly<Record<string, string>> = {}): Response {
  const problem = toProblem(error)
  return new Response(`${JSON.stringify(problem)}\n`, {
    status: problem.status,
    headers: {
      'content-type': 'application/problem+json',
      'cache-control': 'no-store',
      ...(problem.status === 401 ? { 'www-authenticate': 'Bearer realm="shiplock"' } : {}),
      ...headers,
    },
  })
}

/** `NOT_READY` → `Not ready`. */
function titleOf(error: ShiplockError): string {
  const words = error.code.toLowerCase().replaceAll('_', ' ')
  return words.charAt(0).toUpperCase() + words.slice(1)
}
