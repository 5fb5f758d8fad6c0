import { distance } from 'fastest-levenshtein'
import { LIMITS } from '../core/limits.ts'

/** The known word that a typing error most likely meant; null when none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  if (word.length > LIMITS.nearestCharacters) return null
  const wanted = word.toLowerCase()
  let best: { word: string; distance: number } | null = null
  for (const candidate of known) {
    const away = distance(wanted, candidate.toLowerCase())
    if (best === null || away < best.distance) best = { word: candidate, distance: away }
  }
  // Two swapped letters are a distance of 2; half of the word may differ at most.
  return best !== null && best.distance <= Math.max(2, wanted.length / 3) && best.distance * 2 <= best.word.length ? best.word : null
}
