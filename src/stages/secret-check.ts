import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import type { Leak, LeakReport } from '../scanner/leak-scanner.ts'
import { artifactDirectoryOf, artifactOf, runtimeSupportOf } from './artifact.ts'
import { configOf } from './build.ts'
import { type StageContext, type StageEvent, type StageOutcome, StageRefusal } from './stage.ts'

/** What the search for secrets adds to the outcome of a scan. */
interface SecretCheck {
  readonly warnings: readonly string[]
  readonly events: readonly StageEvent[]
}

const NOTHING: SecretCheck = { warnings: [], events: [] }
/** Told in full; of the others the number. */
const SHOWN = 20

/**
 * Looks for the project's own secrets in the artifact, in every encoding that the redactor knows (I8): whoever gets the image or the
 * files would have them. By policy a warning, or the end of the deployment.
 */
export async function lookForSecrets(context: StageContext): Promise<SecretCheck> {
  const policy = configOf(context).scan.secrets
  if (policy === 'off') return NOTHING
  const secrets = await context.secrets()
  if (secrets.length === 0) return NOTHING
  let report: LeakReport
  try {
    report = await search(context, secrets)
  } catch (error) {
    context.signal.throwIfAborted()
    const why = `the artifact was not searched for secrets: ${(error as Error).message.split('\n')[0]}`
    if (policy === 'block') throw new ShiplockError('SCANNER_FAILED', why, { cause: error })
    return { warnings: [`scan: ${why}`], events: [] }
  }
  if (report.leaks.length === 0) return report.isComplete ? NOTHING : partly(report)
  return found(context, report, policy)
}

export function withSecrets(outcome: StageOutcome, check: SecretCheck): StageOutcome {
  if (check.warnings.length === 0 && check.events.length === 0) return outcome
  const { facts, events = [] } = outcome
  return {
    ...outcome,
    facts: { ...facts, warnings: [...check.warnings, ...(facts?.warnings ?? [])] },
    events: [...check.events, ...events],
  }
}

async function search(context: StageContext, secrets: Awaited<ReturnType<StageContext['secrets']>>): Promise<LeakReport> {
  const artifact = artifactOf(context)
  const tree = await artifactDirectoryOf(context.drivers, artifact)
  const { support } = await runtimeSupportOf(context.drivers, context.deployment.serviceEnvironmentId, artifact, configOf(context))
  const layer = support?.layer?.directory ?? null
  return context.drivers.leaks.scan({
    artifact,
    directories: [
      ...(tree === null ? [] : [{ name: '', path: tree }]),
      ...(layer === null ? [] : [{ name: 'runtime layer', path: layer }]),
    ],
    secrets,
    signal: context.signal,
  })
}

function found(context: StageContext, report: LeakReport, policy: 'block' | 'warn'): SecretCheck {
  const names = [...new Set(report.leaks.flatMap((leak) => leak.names))].sort()
  const many = report.leaks.length === 1 ? 'one file' : `${report.leaks.length}${report.isComplete ? '' : ' or more'} files`
  const message = `the artifact holds ${names.length === 1 ? 'a secret' : 'secrets'} of the project: ${names.join(', ')}, in ${many}`
  for (const leak of report.leaks.slice(0, SHOWN)) context.log('engine', `secret ${leak.names.join(', ')} in ${placeOf(leak)}`, 'scan')
  const findings = report.leaks.slice(0, SHOWN).map(({ layer, path, names: held }) => ({ layer, path: printable(path), names: held }))
  const event: StageEvent = {
    type: 'scan.secrets_found',
    message,
    instanceId: null,
    data: { policy, names, count: report.leaks.length, findings },
  }
  if (policy === 'block') throw new StageRefusal('SECRET_IN_ARTIFACT', message, { details: { names } }, { events: [event] })
  return { warnings: [`scan: ${message}: ${report.leaks.slice(0, 3).map(placeOf).join(', ')}`], events: [event] }
}

function placeOf({ layer, path }: Leak): string {
  return layer === '' ? printable(path) : `${printable(path)} (${printable(layer)})`
}

function partly({ bytes }: LeakReport): SecretCheck {
  return { warnings: [`scan: only the first ${Math.round(bytes / 1024 ** 2)} MiB of the artifact were searched for secrets`], events: [] }
}
