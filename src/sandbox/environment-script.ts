import { ShiplockError } from '../core/errors.ts'

/** Shells keep these for themselves: assigning them fails or means something else. */
const RESERVED = new Set(['IFS', 'PPID', 'OPTIND', 'LINENO', 'UID', 'EUID', 'SHELLOPTS', 'BASHOPTS', 'BASH_VERSINFO'])
const NAME = /^[A-Za-z_][A-Za-z0-9_]*$/

/**
 * The environment as a shell script of `export` lines. It is read by the last shell before the user's command, inside the sandbox and with
 * all privileges dropped: variables such as LD_PRELOAD must never act on the programs that build the sandbox, and values must not stand
 * in an argument list (I8).
 * @throws INPUT_INVALID for names that a POSIX shell can't carry and values with NUL.
 */
export function environmentScript(env: Readonly<Record<string, string>>): string {
  let script = ''
  for (const [name, value] of Object.entries(env)) {
    if (!NAME.test(name) || RESERVED.has(name)) {
      throw new ShiplockError('INPUT_INVALID', `the environment variable name ${JSON.stringify(name)} can't be used`, {
        hint: 'Use letters, digits and underscores, not beginning with a digit, and no name that the shell reserves.',
        details: { name },
      })
    }
    if (value.includes('\0'))
      throw new ShiplockError('INPUT_INVALID', `the environment variable ${name} contains a NUL character`, { details: { name } })
    script += `export ${name}=${quote(value)}\n`
  }
  return `${script}${ENVIRONMENT_END}\n`
}

/** Last line: a script cut short by a full disk is noticed instead of running with half of its variables. */
export const ENVIRONMENT_END = ': end of environment'

function quote(value: string): string {
  return `'${value.replaceAll("'", `'\\''`)}'`
}
