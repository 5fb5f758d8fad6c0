import { ShiplockError } from '../core/errors.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { StageContext } from './stage.ts'

const INSTALL =
  'Install Trivy on the server (https://trivy.dev), or deploy without a scan: `scan: { onScannerFailure: warn }` in shiplock.yaml, or SHIPLOCK_SCAN_WITHOUT_SCANNER=warn for the whole server.'

/**
 * Before a long build: where no scanner is there and its absence ends the deployment, that is said at once. Throws SCANNER_FAILED.
 * `kind`: what the build will yield.
 */
export async function refuseWithoutScanner(context: StageContext, kind: Artifact['kind']): Promise<void> {
  if (context.facts.config?.scan.enabled !== true || failurePolicy(context, kind) === 'warn') return
  const reason = await context.drivers.scanner.missing()
  if (reason !== null) throw withoutScan(context, kind, reason)
}

/** What an absent or failing scanner means: the service's word, else the server's. */
export function failurePolicy({ facts, drivers }: Pick<StageContext, 'facts' | 'drivers'>, kind: Artifact['kind']): 'fail' | 'warn' {
  return facts.config?.scan.onScannerFailure ?? drivers.scanner.rules.onFailure[kind]
}

/** The refusal of what nobody has looked into: why, by whose word, and what to do. */
export function withoutScan({ facts }: StageContext, kind: Artifact['kind'], reason: string, cause?: ShiplockError): ShiplockError {
  const isDefault = (facts.config?.scan.onScannerFailure ?? null) === null
  const what = kind === 'image' ? 'an image' : 'a file tree'
  const policy = isDefault ? `${what} is not deployed without a scan` : 'scan.onScannerFailure is "fail"'
  const ownHint = cause === undefined || cause.hint === cause.info.hint ? '' : cause.hint
  return new ShiplockError('SCANNER_FAILED', `not scanned: ${reason}; ${policy}`, {
    ...(cause === undefined ? {} : { details: cause.details, cause }),
    hint: ownHint === '' ? INSTALL : ownHint,
  })
}
