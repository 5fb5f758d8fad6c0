import type { z } from 'zod'
import type { DeploymentError } from '../contract/deployment.ts'
import { ERRORS, type ErrorCode, EXIT_CODES, type ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import { formatClock } from './format.ts'
import type { Terminal } from './terminal.ts'

type DeploymentFailure = z.infer<typeof DeploymentError>

/** `ERROR code: summary`, what else is known, how to solve it. */
export function renderError(error: ShiplockError, { colors }: Pick<Terminal, 'colors'>): string[] {
  const [summary = '', ...more] = error.message.split('\n').map(printable)
  return [
    `${colors.red(colors.bold('ERROR'))} ${colors.bold(error.code)}: ${summary}`,
    ...more.map((line) => `  ${line}`),
    ...problemLines(error),
    `  ${colors.cyan('How to solve:')} ${printable(error.hint)}`,
  ]
}

function problemLines(error: ShiplockError): string[] {
  const lines = error.details.logTail
  return Array.isArray(lines) ? lines.map((line) => `  | ${printable(String(line))}`) : []
}

const ATTEMPTS_SHOWN = 8
const LOG_LINES_SHOWN = 20

/** Why a deployment failed: attempts with what was answered, the last lines of the log, what to do. */
export function renderFailure(error: DeploymentFailure, { colors }: Pick<Terminal, 'colors'>): string[] {
  const failed = error.attempts.filter((attempt) => attempt.outcome === 'failed')
  const shown = failed.slice(-ATTEMPTS_SHOWN)
  return [
    `${colors.red(colors.bold('ERROR'))} ${colors.bold(printable(error.code))}: ${printable(error.message)}`,
    ...(error.stage === null ? [] : [`  ${colors.dim('Stage:')} ${printable(error.stage)}`]),
    ...(shown.length === 0 ? [] : [`  ${colors.dim(`Attempts (last ${shown.length} of ${failed.length}):`)}`]),
    ...shown.map((attempt) => {
      const body =
        attempt.body === null || attempt.body === '' ? '' : `  ${colors.dim(JSON.stringify(printable(attempt.body).slice(0, 80)))}`
      return `    ${formatClock(attempt.at)}  ${printable(attempt.address)}  ${colors.yellow(printable(attempt.result))}${body}`
    }),
    ...(error.logTail.length === 0 ? [] : [`  ${colors.dim('Last lines of the log:')}`]),
    ...error.logTail.slice(-LOG_LINES_SHOWN).map((line) => `    ${colors.dim('|')} ${printable(line)}`),
    `  ${colors.cyan('How to solve:')} ${printable(error.hint)}`,
  ]
}

/** The exit code of a deployment that failed: what kind of error it was decides. */
export function exitCodeOf(code: string): number {
  return code in ERRORS ? ERRORS[code as ErrorCode].exit : EXIT_CODES.deploymentFailed
}
