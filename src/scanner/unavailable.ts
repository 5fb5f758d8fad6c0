import { ShiplockError } from '../core/errors.ts'
import { DEFAULT_ON_FAILURE, type Scanner } from './scanner.ts'

/** Stands in where no scanner is configured: nothing is ever called clean. `reason` says what is missing. */
export function createUnavailableScanner(reason: string): Scanner {
  return {
    name: 'unavailable',
    rules: { onFailure: DEFAULT_ON_FAILURE, reuseMs: 0 },
    check: async () => ({ ok: false, summary: `no vulnerability scanner: ${reason}`, hint: null }),
    missing: async () => reason,
    cleanUp: async () => {},
    scan: () => Promise.reject(new ShiplockError('SCANNER_FAILED', reason)),
  }
}
