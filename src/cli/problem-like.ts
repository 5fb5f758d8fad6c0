import type { ShiplockError } from '../core/errors.ts'

/** An error as `--json` shows it: the fields of the API's problems that matter on a command line. */
export function toProblemLike(error: ShiplockError): {
  code: string
  message: string
  hint: string
  details: Readonly<Record<string, unknown>>
} {
  return { code: error.code, message: error.message, hint: error.hint, details: error.details }
}
