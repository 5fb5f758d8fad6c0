import { findFailureCause, tellingPart } from '../recipe/failure-cause.ts'
import type { FailedStep } from './build-reporter.ts'

interface Cause {
  readonly cause: string
  readonly suggestion: string
}

interface CauseRow extends Cause {
  readonly pattern: RegExp
}

/** About the reason that BuildKit or the classic builder gives; the first that matches. Wording of BuildKit 0.8 to 0.21. `$1` is a group. */
const REASONS: readonly CauseRow[] = [
  {
    pattern: /dockerfile parse error(?: on)? line (\d+): (.{1,120})|Dockerfile parse error.*?line (\d+): (.{1,120})/i,
    cause: 'the Dockerfile can’t be read at line $1$3: $2$4',
    suggestion: 'Correct that line.',
  },
  {
    pattern: /target stage "?([\w.-]+)"? could not be found|failed to reach build target (\S+) in Dockerfile/,
    cause: 'the Dockerfile has no stage $1$2',
    suggestion: 'Correct build.target, or name the stage with `FROM … AS`.',
  },
  {
    pattern: /(?:resolve image config for|resolving frontend|frontend gateway).*docker\/dockerfile|docker\/dockerfile:\S+/,
    cause: 'the Dockerfile names a frontend (`# syntax=`) that can’t be pulled',
    suggestion: 'Remove the `# syntax=` line, or let the server reach the registry it is in.',
  },
  {
    pattern:
      /lookup (\S+?)(?: on \S+)?: (?:no such host|Temporary failure|server misbehaving)|dial tcp (\S+?):\d+: (?:i\/o timeout|connect:)/,
    cause: 'the registry $1$2 of a base image can’t be reached',
    suggestion: 'Check its name and the network of the server.',
  },
  {
    pattern: /insufficient_scope|pull access denied for ([^\s,]+)|unauthorized|403 Forbidden|401 Unauthorized|no basic auth credentials/,
    cause: 'a base image does not exist, or its registry refuses access ($1)',
    suggestion: 'Check the name after FROM; for a private image set the project secret REGISTRY_AUTH.',
  },
  {
    pattern: /(\S+?):? (?:manifest unknown|not found: manifest unknown)|manifest for (\S+) not found|([^\s:]+(?::[^\s:]+)+): not found$/,
    cause: 'the base image $1$2$3 does not exist',
    suggestion: 'Check the name and tag after FROM.',
  },
  {
    pattern: /no match for platform|does not match the specified platform|no matching manifest for (\S+)/,
    cause: 'a base image is not there for this platform',
    suggestion: 'Set build.platform, or choose a base image for the platform of the server.',
  },
  {
    pattern: /exec format error/,
    cause: 'a program of the image is for another processor',
    suggestion: 'Choose a base image for the platform of the server.',
  },
  {
    pattern: /"?(\/[^"\s]*)"?:? not found|COPY failed: file not found in build context.*?: stat ([^:]+)|lstat (\S+): no such file/,
    cause: '$1$2$3 is not in the build context',
    suggestion: 'Check that it is committed, that .dockerignore does not leave it out, and build.context.',
  },
  {
    pattern: /secret (\S+): not found|secret (\S+) not found/,
    cause: 'the build wants the secret $1$2',
    suggestion: 'Name it in build.secrets and set it for the project.',
  },
  {
    pattern: /no space left on device/i,
    cause: 'the disk of the container engine is full',
    suggestion: 'Free space there; `shiplock doctor` shows what uses it.',
  },
]

/** About what a step printed, where a build in an image has other remedies than a recipe. */
const OUTPUT: readonly CauseRow[] = [
  {
    pattern: /(?:sh|bash|ash|dash)?:? ?(?:line )?(?:\d+: )?(?:\S+: )?([^\s:]+): (?:command )?not found$/,
    cause: 'the command $1 is not in the image',
    suggestion: 'Install it in an earlier step, or choose a base image that has it.',
  },
]

/** Advice for recipes, which would mislead here. */
const RECIPE_ADVICE = /build\.(?:base|prepareCommands|env|buildCommands)|Dockerfile/

/** Why a build failed, where its output shows it, with one thing to do; null when it does not. */
export function findImageFailureCause({ step, reason, tail }: FailedStep): Cause | null {
  const isRun = step !== null && / RUN /.test(step)
  const exit = /exit code: (\d+)|returned a non-zero code: (\d+)/.exec(reason)
  if (exit === null || !isRun) {
    const found = firstMatch(REASONS, [reason, ...(step === null ? [] : [step])])
    if (found !== null) return found
  }
  const printed = firstMatch(OUTPUT, tail)
  if (printed !== null) return printed
  const exitCode = exit === null ? null : Number(exit[1] ?? exit[2])
  const known = findFailureCause({ exitCode: exitCode === 127 || exitCode === 126 ? null : exitCode, signal: null, oomKilled: false, tail })
  if (known === null) return null
  return RECIPE_ADVICE.test(known.suggestion) ? { ...known, suggestion: 'See the output of that step in the log.' } : known
}

function firstMatch(rows: readonly CauseRow[], lines: readonly string[]): Cause | null {
  for (const { pattern, cause, suggestion } of rows) {
    for (const line of lines) {
      const match = pattern.exec(tellingPart(line))
      if (match !== null) {
        const text = cause.replace(/\$(\d)/g, (_, group) => match[Number(group)] ?? '').replace(/ \(\)$/, '')
        return { cause: text, suggestion }
      }
    }
  }
  return null
}
