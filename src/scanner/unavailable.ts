import type { ScanVerdict } from '../domain/deployment.ts'
import type { Scanner } from './scanner.ts'

const NO_FINDINGS = { critical: 0, high: 0, medium: 0, low: 0 } as const

/**
 * Stands in where no scanner is installed: nothing is ever called clean. `reason` says what was looked for, e.g. `trivy is not in PATH`.
 * By policy `fail` the deployment is blocked, by `warn` it goes on with the outcome `unknown`.
 */
export function createUnavailableScanner(reason: string): Scanner {
  return {
    name: 'unavailable',
    check: async () => ({ ok: false, summary: `no vulnerability scanner: ${reason}` }),
    scan: async ({ config, onLine }) => {
      const verdict = verdictFor(config, reason)
      onLine(verdict.note)
      return verdict
    },
  }
}

function verdictFor(config: { readonly enabled: boolean; readonly onScannerFailure: 'fail' | 'warn' }, reason: string): ScanVerdict {
  if (!config.enabled) return { outcome: 'skipped', note: 'scanning is off for this service', ...NO_FINDINGS }
  if (config.onScannerFailure === 'fail') {
    const note = `blocked: the artifact was not scanned (${reason}) and scan.onScannerFailure is "fail"`
    return { outcome: 'blocked', note, ...NO_FINDINGS }
  }
  return { outcome: 'unknown', note: `warning: the artifact was not scanned: ${reason}`, ...NO_FINDINGS }
}
