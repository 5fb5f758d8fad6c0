import { LIMITS } from '../../core/limits.ts'

/**
 * Control, direction and other invisible characters, lone surrogates (which jsonb refuses), line and paragraph separators.
 * The two joiners stay: they hold emoji and some scripts together.
 */
const UNSAFE = /(?!\u200c|\u200d)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu
const UNSAFE_BUT_LINES = /(?!\u200c|\u200d|\n|\t)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu

/**
 * Foreign text for one line of a log or table: each unsafe character becomes `�`, the end is cut. Nothing is left out in between (as
 * `printable` does with whole escape sequences), so that no hostile name turns into an innocent one.
 */
export function harmless(text: string, charactersMax: number = LIMITS.webhookTextCharacters): string {
  return cut(text, charactersMax).replace(UNSAFE, '\ufffd')
}

/** The same for a text of several lines. */
export function harmlessLines(text: string, charactersMax: number = LIMITS.webhookMessageCharacters): string {
  return cut(text, charactersMax).replace(/\r\n?/g, '\n').replace(UNSAFE_BUT_LINES, '\ufffd')
}

/** True when the text may be compared and used as it stands. */
export function isHarmless(text: string, charactersMax: number = LIMITS.webhookTextCharacters): boolean {
  return text !== '' && harmless(text, charactersMax) === text
}

function cut(text: string, charactersMax: number): string {
  if (text.length <= charactersMax) return text
  // A cut between the halves of a pair leaves a lone one, which the caller replaces.
  return `${text.slice(0, charactersMax - 1)}…`
}
