const UNIT_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
type Unit = keyof typeof UNIT_MS

const WORDING = /^\s*(\d{1,12}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?\s*$/

/** What a duration looks like, for refusals and editors. */
export const DURATION_FORMS = 'a duration such as 500ms, 30s, 15m, 1h or 2d (a plain number counts seconds)'

/** Milliseconds, whole; null when it is no duration. A plain number counts seconds, as in every dialect that is read. */
export function parseDuration(value: string | number): number | null {
  const match = WORDING.exec(String(value))
  if (match === null) return null
  const ms = Math.round(Number(match[1]) * UNIT_MS[(match[2] ?? 's') as Unit])
  return Number.isSafeInteger(ms) ? ms : null
}

/** The shortest wording that `parseDuration` reads back as the same number of milliseconds. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  for (const unit of ['d', 'h', 'm', 's'] as const) if (ms % UNIT_MS[unit] === 0) return `${ms / UNIT_MS[unit]}${unit}`
  return `${ms}ms`
}
