import { ShiplockError } from '../../core/errors.ts'

/** `what` says what and where in one sentence, `hint` what to do. */
export function unavailable(what: string, hint: string, cause?: unknown): ShiplockError {
  return new ShiplockError('DATABASE_UNAVAILABLE', what, { hint: `${hint} ${ELSEWHERE}`, ...(cause === undefined ? {} : { cause }) })
}

const ELSEWHERE = 'Or set DATABASE_URL to a PostgreSQL that runs already.'

interface KnownTrouble {
  readonly sign: RegExp
  readonly what: string
  readonly hint: string
}

/** What PostgreSQL's programs print when they give up, and what to do about it. */
const TROUBLES: readonly KnownTrouble[] = [
  {
    sign: /No space left on device|Disk quota exceeded|ENOSPC|EDQUOT/,
    what: 'the disk is full',
    hint: 'Free space on that volume (a new database takes about 50 MB) and start again.',
  },
  {
    sign: /Read-only file system|EROFS/,
    what: 'the file system is read-only',
    hint: 'Choose a data directory on a volume that can be written.',
  },
  {
    sign: /error while loading shared libraries: (\S+?):/,
    what: 'a library of the embedded PostgreSQL is missing',
    hint: 'Reinstall the packages with `npm ci`.',
  },
  {
    sign: /could not look up effective user ID/,
    what: 'the user id Shiplock runs as has no name on this system',
    hint: 'Add a line for it to /etc/passwd.',
  },
  {
    sign: /Permission denied|EACCES|EPERM|wrong ownership|could not access directory/,
    what: 'permissions are missing',
    hint: 'Give the database directory back to the account it belonged to, with mode 0700.',
  },
  {
    sign: /could not create shared memory segment|could not resize shared memory|Cannot allocate memory/,
    what: 'there is not enough (shared) memory',
    hint: 'Free memory, or give the container more (--shm-size, memory limit).',
  },
  {
    sign: /pre-existing shared memory block/,
    what: 'processes of an earlier run still use the database',
    hint: 'Wait for them to end, or end the leftover `postgres` processes.',
  },
  {
    sign: /invalid checkpoint record|could not locate a valid checkpoint|invalid primary checkpoint|checksum/i,
    what: 'the database files are damaged',
    hint: 'Restore them from a backup.',
  },
]

/** The likely cause of PostgreSQL's last words, or those words themselves. */
export function explainOutput(doing: string, where: string, lines: readonly string[]): ShiplockError {
  const text = lines.join('\n')
  const trouble = TROUBLES.find(({ sign }) => sign.test(text))
  const spoken = lines.filter((line) => /FATAL|PANIC|error:|could not|cannot|No space/i.test(line)).at(-1) ?? lines.at(-1) ?? 'no output'
  return unavailable(
    `${doing} failed in ${where}: ${trouble === undefined ? '' : `${trouble.what}: `}${spoken.trim()}`,
    trouble?.hint ?? '`shiplock doctor` shows more.',
  )
}

/** A file-system error while preparing `where`. */
export function explainFileError(doing: string, where: string, error: unknown): ShiplockError {
  if (error instanceof ShiplockError) return error
  const { code = '', message } = error as NodeJS.ErrnoException
  const trouble = TROUBLES.find(({ sign }) => sign.test(`${code} ${message}`))
  return unavailable(
    `can't ${doing} at ${where}: ${trouble?.what ?? message}`,
    trouble?.hint ?? 'Check the directory and its permissions.',
    error,
  )
}
