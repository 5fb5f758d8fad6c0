import { z } from 'zod'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import type { ScannerHealth } from './scanner.ts'
import { JAVA_HINT } from './trivy-failure.ts'

export interface Version {
  readonly version: string | null
  readonly databaseAt: string | null
  /** Of the database that names what is in Java archives. */
  readonly javaDatabaseAt: string | null
}

/** `trivy version --format json`; a database that was never fetched is left out of it. */
const VersionOutput = z.looseObject({
  Version: z.string().nullish(),
  VulnerabilityDB: z.looseObject({ UpdatedAt: z.string().nullish() }).nullish(),
  JavaDB: z.looseObject({ UpdatedAt: z.string().nullish() }).nullish(),
})

export function parseVersion(text: string): Version {
  let data: unknown = null
  try {
    data = JSON.parse(text)
  } catch {
    // Said below.
  }
  const parsed = VersionOutput.safeParse(data)
  if (!parsed.success) throw new ShiplockError('SCANNER_FAILED', 'trivy does not say its version as JSON: it may be another program')
  const { Version, VulnerabilityDB, JavaDB } = parsed.data
  return {
    version: Version == null ? null : printable(Version).slice(0, 50),
    databaseAt: timeOf(VulnerabilityDB?.UpdatedAt),
    javaDatabaseAt: timeOf(JavaDB?.UpdatedAt),
  }
}

/** Go's zero time stands for "never". */
function timeOf(text: string | null | undefined): string | null {
  const at = Date.parse(text ?? '')
  return Number.isFinite(at) && at > 0 ? new Date(at).toISOString() : null
}

/** What the databases on this host are good for. */
export function databaseHealth(
  { databaseAt, javaDatabaseAt }: Version,
  { isOffline }: { readonly isOffline: boolean },
  now: number,
): ScannerHealth {
  if (databaseAt === null) {
    if (!isOffline) return { ok: true, summary: 'no database yet: the first scan fetches it', hint: null }
    const hint = 'Put `db/` and `java-db/` into the cache directory of Trivy, or unset SHIPLOCK_TRIVY_OFFLINE.'
    return { ok: false, summary: 'no database, and offline it may not fetch one: every scan fails', hint }
  }
  const hours = Math.max(0, Math.floor((now - Date.parse(databaseAt)) / 3_600_000))
  const summary = `database of ${databaseAt.slice(0, 10)}, ${hours < 48 ? `${hours} h` : `${Math.floor(hours / 24)} days`} old`
  if (!isOffline || javaDatabaseAt !== null) return { ok: true, summary, hint: null }
  return { ok: false, summary: `${summary}, no Java database: offline, Java archives are not looked into`, hint: JAVA_HINT }
}
