import { type ErrorCode, ShiplockError } from '../core/errors.ts'
import type { CommandResult } from '../core/exec.ts'

interface Pattern {
  readonly test: RegExp
  readonly code: ErrorCode
  readonly says: string
  readonly hint?: string
}

/** What git's last lines mean, first match wins. Wording as of git 2.30 to 2.50 with LC_ALL=C. */
const PATTERNS: readonly Pattern[] = [
  // A checkout on a full disk names the file that it could not write, not the reason.
  { test: /No space left|Out of diskspace|Disk quota|unable to write (?:file|new index)/i, code: 'DISK_FULL', says: 'no space is left' },
  {
    test: /Could not resolve host|Name or service not known|Temporary failure in name resolution/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'the host name can’t be resolved',
  },
  {
    test: /Connection refused|Failed to connect|Couldn't connect|Network is unreachable|No route to host/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'the host refuses connections or can’t be reached',
  },
  { test: /timed out|Operation too slow|Timeout/i, code: 'SOURCE_UNREACHABLE', says: 'the host did not answer in time' },
  {
    test: /HOST IDENTIFICATION HAS CHANGED|^Host key for .* has changed/m,
    code: 'SOURCE_REFUSED',
    says: 'the host shows another key than the one that was pinned or seen before',
    hint: 'Somebody may be in between. If the host has published a new key, pin it: `shiplock deploy-key pin HOST`.',
  },
  {
    test: /host key is known for|Host key verification failed/i,
    code: 'SOURCE_REFUSED',
    says: 'no key of that host is pinned',
    hint: '`shiplock deploy-key pin HOST -s SERVICE` shows the keys of the host and pins them.',
  },
  {
    test: /Permission denied \(|publickey/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'the host does not accept the ssh key',
    hint: 'Add the public key as a deploy key of the repository: `shiplock deploy-key show -s SERVICE` prints it, `create` draws one.',
  },
  {
    test: /could not read (?:Username|Password)|Authentication failed|error: 40[13]/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'there is no such repository, or it needs other credentials',
    hint: 'Check the URL; for a private repository set a token (`shiplock git-token set HOST`), or use an ssh URL with a deploy key.',
  },
  {
    test: /error: 30[1278]|redirect/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'the address redirects to another, which is not followed',
    hint: 'Use the address it redirects to.',
  },
  {
    test: /error: 5\d\d|early EOF|RPC failed|unexpected disconnect|hung up unexpectedly/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'the host broke off',
  },
  { test: /SSL|certificate/i, code: 'SOURCE_UNREACHABLE', says: 'the TLS connection failed' },
  {
    test: /dubious ownership/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'git does not trust the owner of that directory',
    hint: 'Give the path of the repository itself, without symlinks.',
  },
  {
    test: /not found|does not exist|not appear to be a git repository|no such|Could not read from remote|error: 404/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'there is no repository that this server may read',
  },
]

/** The error for a git command that failed: our one sentence, then git's own last lines (already printable). */
export function gitFailure(doing: string, result: CommandResult): ShiplockError {
  const said = result.stderrTail.filter((line) => line.trim() !== '')
  const tail = said.slice(-4)
  const text = tail.join('\n')
  // git's own advice comes after what ssh said, which tells more.
  const pattern = result.timedOut ? undefined : PATTERNS.find(({ test }) => test.test(said.join('\n')))
  const says = result.timedOut ? 'git took too long' : (pattern?.says ?? `git ended with exit code ${result.exitCode}`)
  return new ShiplockError(pattern?.code ?? 'SOURCE_UNREACHABLE', `${doing}: ${says}${text === '' ? '' : `\n${text}`}`, {
    details: { exitCode: result.exitCode, git: tail },
    ...(pattern?.hint === undefined ? {} : { hint: pattern.hint }),
  })
}

/** A server that has the commit but gives out only what a branch or tag points at. */
export function refusesUnadvertised(result: CommandResult): boolean {
  return /unadvertised object|not allow request|no such remote ref|couldn't find remote ref/i.test(result.stderrTail.join('\n'))
}

export function lacksCommit(result: CommandResult): boolean {
  return /not our ref|bad object|did not contain/i.test(result.stderrTail.join('\n'))
}
