/** Control, format and direction characters, lone halves: a name that can't be seen as it is must not pass for another. */
const INVISIBLE = /(?!\u200c|\u200d)[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u

/**
 * Why this can't be a branch, tag or full ref, as the end of a sentence; null when it can. git's own rules (git-check-ref-format), and some of
 * ours: no dash where an option begins, no plus where a refspec does, nothing invisible, and nothing by which a shell at the other end would do more
 * than read a name.
 */
export function gitRefProblem(ref: string, lengthMax: number): string | null {
  if (ref === '') return 'is empty'
  if (ref.length > lengthMax) return `is longer than ${lengthMax} characters`
  if (ref.startsWith('-')) return 'begins with a dash and would be read as an option'
  if (ref.startsWith('+')) return 'begins with a plus, which has a meaning of its own to git'
  if (/["'`$;&|<>]/.test(ref)) return 'holds quotes or one of $ ; & | < >'
  if (INVISIBLE.test(ref)) return 'holds control or invisible characters'
  if (/[\s~^:?*[\\]/.test(ref)) return 'holds blanks or one of ~ ^ : ? * [ \\, which git takes in no name'
  if (ref === '@' || ref.includes('@{')) return 'is a revision expression'
  if (ref.includes('..')) return 'holds `..`'
  for (const name of ref.split('/')) {
    if (name === '') return 'has an empty part between slashes'
    if (name.startsWith('.') || name.startsWith('-')) return 'has a part that begins with a dot or dash'
    if (name.endsWith('.lock') || name.endsWith('.')) return 'has a part that ends in `.lock` or a dot'
  }
  return null
}
