/**
 * Until when a line of Node gets security fixes, as its schedule says (github.com/nodejs/Release, schedule.json); midnight UTC. Odd lines
 * up to 25 ended half a year after they came; from 27 on every line is supported for long.
 */
const SUPPORTED_UNTIL: Readonly<Record<number, string>> = {
  20: '2026-04-30',
  21: '2024-06-01',
  22: '2027-04-30',
  23: '2025-06-01',
  24: '2028-04-30',
  25: '2026-06-01',
  26: '2029-04-30',
}

/** The lines that every change is tested on, beside the oldest that is promised. */
export const TESTED_NODE_LINES = [22, 24, 26] as const

export interface NodeSupport {
  readonly isSupported: boolean
  /** One sentence. */
  readonly summary: string
}

/** @param version as `process.version` has it, e.g. `v22.23.3` */
export function nodeSupport(version: string, now: number): NodeSupport {
  const line = Number(/^v?(\d{1,4})\./.exec(version)?.[1])
  const until = SUPPORTED_UNTIL[line]
  if (until === undefined) return { isSupported: true, summary: `Node ${version}` }
  if (now < Date.parse(until)) return { isSupported: true, summary: `Node ${version}, supported until ${until}` }
  return { isSupported: false, summary: `Node ${version} has had no security fixes since ${until}` }
}
