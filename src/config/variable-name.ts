import { LIMITS } from '../core/limits.ts'

const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/** Names that the engine sets itself (DESIGN.md §4). */
export function isReservedName(name: string): boolean {
  const upper = name.toUpperCase()
  return upper === 'PORT' || upper.startsWith('SHIPLOCK_')
}

/** Why this can't be the name of a variable, as the end of a sentence; null when it can. Used for files, API and CLI alike. */
export function variableNameProblem(name: string): string | null {
  if (!NAME.test(name)) return 'is no variable name: letters, digits and _ only, not beginning with a digit'
  if (name.length > LIMITS.variableNameLength) return `is longer than ${LIMITS.variableNameLength} characters`
  // An object with this key would lose it silently.
  if (name === '__proto__') return 'is not allowed as a variable name'
  if (name.toUpperCase() === 'PORT') return 'is set by Shiplock; give run.port, and read PORT in the app'
  if (isReservedName(name)) return 'is reserved: names that begin with SHIPLOCK_ are set by Shiplock'
  return null
}
