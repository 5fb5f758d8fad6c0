import { type ErrorCode, ShiplockError } from '../core/errors.ts'
import type { CommandResult } from '../core/exec.ts'

interface Pattern {
  readonly test: RegExp
  readonly code: ErrorCode
  readonly says: string
  readonly hint?: string
}

/**
 * What the last lines of git, curl and ssh mean, first match wins. Wording as of git 2.30 to 2.50 with LC_ALL=C. Only our own sentence is
 * shown: their lines quote whatever they were made to read.
 */
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
    says: 'the host shows another key than the one that was pinned',
    hint: 'Somebody may be in between. If the host has published a new key, pin it: `shiplock deploy-key pin HOST`.',
  },
  {
    test: /host key is known for|Host key verification failed/i,
    code: 'SOURCE_REFUSED',
    says: 'no key of that host is pinned',
    hint: '`shiplock deploy-key pin HOST -s SERVICE` shows the keys of the host and pins them.',
  },
  {
    test: /No user exists for uid/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'ssh does not run as a user without a name',
    hint: 'Install bubblewrap on the server (`apt-get install bubblewrap`), or use an https address.',
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
  { test: /error: 5\d\d/i, code: 'SOURCE_UNREACHABLE', says: 'the host answers that it is out of order' },
  {
    test: /self[- ]signed certificate|unable to get (?:local )?issuer certificate|unknown CA|not trusted/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'nobody whom this server knows vouches for the certificate of the host',
    hint: 'For a certificate authority of your own: SHIPLOCK_GIT_CA_FILE.',
  },
  { test: /certificate has expired|not yet valid/i, code: 'SOURCE_UNREACHABLE', says: 'the certificate of the host is not valid today' },
  {
    test: /no alternative certificate subject|does not match target host/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'the certificate of the host is for another name',
  },
  { test: /SSL|TLS|certificate/i, code: 'SOURCE_UNREACHABLE', says: 'the TLS connection failed' },
  {
    test: /dubious ownership/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'git does not trust the owner of that directory',
    hint: 'Give the path of the repository itself, without symlinks.',
  },
  {
    test: /unexpected line in|bad (?:object|tree|config|signature|packed)|corrupt|broken|missing blob|missing tree|invalid (?:object|index|sha1|packed)|fatal: pack|inflate|index-pack (?:failed|died)|unpack-objects|does not point to a valid|shallow file/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'the repository is damaged',
    hint: 'Check it where it lies: `git fsck`.',
  },
  {
    test: /early EOF|RPC failed|unexpected disconnect|hung up unexpectedly|bad line length|protocol error|invalid (?:server response|packet)|unexpected response/i,
    code: 'SOURCE_UNREACHABLE',
    says: 'the host broke off, or does not speak git',
  },
  {
    test: /can't read|Permission denied|cannot (?:chdir|open|read)/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'the repository may not be read by the user that git runs as',
    hint: 'A repository on the server has to be readable for everybody (`chmod -R o+rX`): git does not run with the server’s rights.',
  },
  {
    test: /not found|does not exist|not appear to be a git repository|no such|Could not read from remote|error: 404|not valid: is this a git/i,
    code: 'SOURCE_NOT_FOUND',
    says: 'there is no repository that this server may read',
  },
  { test: /out of memory|cannot allocate|malloc|Killed/i, code: 'SOURCE_REFUSED', says: 'git needs more memory than it may have' },
  { test: /transport .* not allowed/i, code: 'SOURCE_REFUSED', says: 'the repository leads to another protocol' },
]

/** The error for a git command that failed: one sentence of ours. What git said stands in the server's own log, at level `debug`. */
export function gitFailure(doing: string, result: CommandResult): ShiplockError {
  const said = result.stderrTail.filter((line) => line.trim() !== '').join('\n')
  const pattern = result.timedOut ? undefined : PATTERNS.find(({ test }) => test.test(said))
  const says = result.timedOut ? 'git took too long' : (pattern?.says ?? unknown(result))
  return new ShiplockError(pattern?.code ?? 'SOURCE_UNREACHABLE', `${doing}: ${says}`, {
    details: { exitCode: result.exitCode },
    ...(pattern?.hint === undefined ? {} : { hint: pattern.hint }),
  })
}

function unknown({ exitCode, signal }: CommandResult): string {
  return exitCode === null ? `git was ended by ${signal}` : `git failed with exit code ${exitCode}`
}

/** A server that has the commit but gives out only what a branch or tag points at. */
export function refusesUnadvertised(result: CommandResult): boolean {
  return /unadvertised object|not allow request|no such remote ref|couldn't find remote ref/i.test(result.stderrTail.join('\n'))
}

export function lacksCommit(result: CommandResult): boolean {
  return /not our ref|bad object|did not contain/i.test(result.stderrTail.join('\n'))
}
