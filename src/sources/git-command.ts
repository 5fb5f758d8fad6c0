import { isShiplockError, ShiplockError } from '../core/errors.ts'
import type { CommandResult } from '../core/exec.ts'
import type { Room } from '../core/foreign-programs.ts'
import { LIMITS } from '../core/limits.ts'
import type { GitProtocol } from './git-address.ts'

/** What one git has, besides what every git has. Paths as the room's programs see them. */
export interface GitCommandOptions {
  readonly room: Room
  readonly protocol: GitProtocol
  /** An empty directory. */
  readonly home: string
  /** What stands in place of the user's own configuration; null = nothing. */
  readonly configuration: string | null
  /** PATH of git and ssh. */
  readonly searchPath: string
  /** 0 for servers that mishandle version 2. */
  readonly protocolVersion: 0 | 2
  /** Certificates to believe in place of those of the system; null = those. */
  readonly caFile: string | null
  /** Further settings, `name=value`; nothing secret, they are arguments. */
  readonly settings: readonly string[]
  /** Wins over the rest of the environment. */
  readonly env: Readonly<Record<string, string>>
}

/** Runs in the room's directory. */
export type Git = (args: readonly string[], options: GitRunOptions) => Promise<CommandResult>

interface GitRunOptions {
  readonly signal: AbortSignal
  readonly input?: string
  readonly onLine?: (line: string, stream: 'stdout' | 'stderr') => void
}

/** Options that hold for every git we run; whatever a repository or a host configures does not. */
const FIXED_CONFIG = [
  'core.hooksPath=/dev/null',
  'core.fsmonitor=false',
  'core.protectHFS=true',
  'core.protectNTFS=true',
  'core.autocrlf=false',
  'core.attributesFile=/dev/null',
  // Larger files are written as they come, without a copy in memory.
  'core.bigFileThreshold=32m',
  'credential.helper=',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  // Packs stay packs: a million loose objects would pass by the bound on their size.
  'fetch.unpackLimit=1',
  // A server must not send us elsewhere: not by a redirect, not by alternates (which follow this setting), bundles or packs by address.
  'http.followRedirects=false',
  'transfer.bundleURI=false',
  'fetch.uriProtocols=',
  'http.lowSpeedLimit=1000',
  'http.lowSpeedTime=60',
  'gc.auto=0',
  'maintenance.auto=false',
  'advice.detachedHead=false',
  'log.mailmap=false',
  'log.showSignature=false',
]

/** A git that can talk by one protocol and by no other (research §5.4.2). */
export function createGit(options: GitCommandOptions): Git {
  const { room, protocol, searchPath } = options
  const env = {
    PATH: searchPath,
    HOME: options.home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: options.configuration ?? '/dev/null',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    // Wins over every protocol.* setting, also for the children that git starts.
    GIT_ALLOW_PROTOCOL: protocol,
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_OPTIONAL_LOCKS: '0',
    GIT_NO_LAZY_FETCH: '1',
    GIT_NO_REPLACE_OBJECTS: '1',
    // The user that git runs as has no name of its own; reflogs want one.
    GIT_COMMITTER_NAME: 'shiplock',
    GIT_COMMITTER_EMAIL: 'shiplock@localhost',
    ...(options.caFile === null ? {} : { GIT_SSL_CAINFO: options.caFile }),
    ...options.env,
  }
  const settings = [...FIXED_CONFIG, `protocol.version=${options.protocolVersion}`, ...options.settings]
  const fixed = settings.flatMap((setting) => ['-c', setting])
  return async (args, run) => {
    const result = await room
      .run(['git', ...fixed, ...args], {
        env,
        signal: run.signal,
        timeoutMs: LIMITS.gitCommandMs,
        ...(run.input === undefined ? {} : { input: run.input }),
        ...(run.onLine === undefined ? {} : { onLine: run.onLine }),
      })
      .catch((error: unknown) => {
        if (isShiplockError(error, 'INTERNAL') && error.details.errno === 'ENOENT') throw gitMissing(error)
        throw error
      })
    if (result.aborted) throw run.signal.reason
    if (result.exitCode === NOT_FOUND) throw gitMissing()
    return result
  }
}

/** How a shell says that there is no such program. */
const NOT_FOUND = 127

function gitMissing(cause?: unknown): ShiplockError {
  return new ShiplockError('RUNTIME_UNAVAILABLE', 'git is not installed on this server', {
    hint: 'Install git (`apt-get install git`) and try again.',
    cause,
  })
}
