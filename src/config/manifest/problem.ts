import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'

export type Path = readonly (string | number)[]

/** Where something stands in a file; both count from 1. */
export interface Position {
  readonly line: number
  readonly column: number
}

/** One thing that is wrong with a configuration file. */
export interface ConfigProblem {
  /** `services.api.run.port`; '' for the file as a whole. */
  readonly path: string
  readonly position: Position | null
  /** Continues the sentence that begins with the path. */
  readonly message: string
}

export function formatPath(path: Path): string {
  let text = ''
  for (const part of path) {
    if (typeof part === 'number') text += `[${part}]`
    else if (/^[\w$-]+$/.test(part)) text += text === '' ? part : `.${part}`
    else text += `[${JSON.stringify(part)}]`
  }
  return text
}

/** CONFIG_INVALID with every problem, in the order of the file. One problem makes one line. */
export function configInvalid(file: string, problems: readonly ConfigProblem[], hint?: string): ShiplockError {
  const sorted = [...problems].sort(
    (a, b) => (a.position?.line ?? 0) - (b.position?.line ?? 0) || (a.position?.column ?? 0) - (b.position?.column ?? 0),
  )
  const lines = sorted.slice(0, LIMITS.configProblemsShown).map((problem) => formatProblem(file, problem))
  if (sorted.length > lines.length) lines.push(`… and ${sorted.length - lines.length} more`)
  const message =
    lines.length === 1 ? lines[0] : `${printable(file)} has ${sorted.length} problems:\n${lines.map((line) => `  ${line}`).join('\n')}`
  return new ShiplockError('CONFIG_INVALID', message ?? `${printable(file)} is not valid`, {
    details: { file, problems: sorted.slice(0, LIMITS.configProblemsShown) },
    ...(hint === undefined ? {} : { hint }),
  })
}

function formatProblem(file: string, problem: ConfigProblem): string {
  const place = problem.position === null ? file : `${file}:${problem.position.line}:${problem.position.column}`
  return printable(`${place}: ${problem.path === '' ? '' : `${problem.path} `}${problem.message}`)
}
