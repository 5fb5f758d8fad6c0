const FIRST_MS = 250
const MAX_MS = 60_000

/** Pause before the nth restart in a row: none for the first, then 250 ms doubling up to a minute. */
export function restartPauseMs(crashes: number): number {
  return crashes <= 1 ? 0 : Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(crashes - 2, 20))
}
