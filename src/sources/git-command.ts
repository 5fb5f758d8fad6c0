import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { type CommandResult, runCommand } from '../core/exec.ts'
import { LIMITS } from '../core/limits.ts'
import type { GitAddress } from './git-address.ts'

export interface GitCommandOptions {
  /** Ours alone: empty home, known hosts, generated configuration. */
  readonly stateDirectory: string
  /** PATH of git and ssh. */
  readonly searchPath: string
  /** 0 for servers that mishandle version 2. */
  readonly protocolVersion: 0 | 2
  /** Certificates to believe in place of those of the system; null = those. */
  readonly caFile: string | null
}

export type Git = (args: readonly string[], options: GitRunOptions) => Promise<CommandResult>

interface GitRunOptions {
  readonly cwd: string
  readonly signal: AbortSignal
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
  'credential.helper=',
  'submodule.recurse=false',
  'fetch.recurseSubmodules=false',
  'http.followRedirects=false',
  'http.lowSpeedLimit=1000',
  'http.lowSpeedTime=60',
  'gc.auto=0',
  'maintenance.auto=false',
  'advice.detachedHead=false',
]

/** A git that can talk to `address` and nothing else (research §5.4.2); `added` wins over the rest of its environment. */
export async function createGit(
  address: GitAddress,
  options: GitCommandOptions,
  added: Readonly<Record<string, string>> = {},
): Promise<Git> {
  const home = join(options.stateDirectory, 'home')
  await mkdir(home, { recursive: true, mode: 0o700 })
  const configuration = await writeConfiguration(address, options.stateDirectory)
  const env = {
    PATH: options.searchPath,
    HOME: home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: configuration,
    GIT_ATTR_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    // Wins over every protocol.* setting, also for the children that git starts.
    GIT_ALLOW_PROTOCOL: address.protocol,
    GIT_SSH_COMMAND: sshCommand(options.stateDirectory),
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_OPTIONAL_LOCKS: '0',
    ...(options.caFile === null ? {} : { GIT_SSL_CAINFO: options.caFile }),
    ...added,
  }
  const fixed = [...FIXED_CONFIG, `protocol.version=${options.protocolVersion}`].flatMap((setting) => ['-c', setting])
  return async (args, run) => {
    const result = await runCommand('git', [...fixed, ...args], {
      cwd: run.cwd,
      env,
      signal: run.signal,
      timeoutMs: LIMITS.gitCommandMs,
      ...(run.onLine === undefined ? {} : { onLine: run.onLine }),
    }).catch(gitMissing)
    if (result.aborted) throw run.signal.reason
    return result
  }
}

function gitMissing(error: unknown): never {
  if (!isShiplockError(error, 'INTERNAL') || error.details.errno !== 'ENOENT') throw error
  throw new ShiplockError('RUNTIME_UNAVAILABLE', 'git is not installed on this server', {
    hint: 'Install git (`apt-get install git`) and try again.',
    cause: error,
  })
}

/**
 * git refuses to serve a repository that belongs to another user unless a global file lists it: that user's hooks and settings
 * would run. Our own "global" file, one per address, lists exactly this repository. That is safe because the only program
 * we ever run in that directory is `git upload-pack`, which is made to serve untrusted repositories and ignores their hooks
 * and settings; all else runs in the copy, which is ours.
 */
async function writeConfiguration(address: GitAddress, stateDirectory: string): Promise<string> {
  if (address.path === null) return '/dev/null'
  const path = address.path.replace(/\/+$/, '')
  const paths = new Set([path, await realpath(path).catch(() => path)])
  const directories = [...paths].flatMap((base) => [base, `${base}/.git`, `${base}.git`, `${base}.git/.git`])
  const lines = directories.map((directory) => `\tdirectory = ${quoted(directory)}\n`)
  const file = join(stateDirectory, `${createHash('sha256').update(path).digest('hex').slice(0, 24)}.gitconfig`)
  await writeFileAtomic(file, `[safe]\n${lines.join('')}`)
  return file
}

function quoted(value: string): string {
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`
}

/** Keys of the server's user; host keys learned at first use and kept; never a question. git hands this line to a shell. */
function sshCommand(stateDirectory: string): string {
  const knownHosts = join(stateDirectory, 'known_hosts').replaceAll('"', '\\"')
  const settings = [
    'BatchMode=yes',
    'StrictHostKeyChecking=accept-new',
    `UserKnownHostsFile="${knownHosts}" ~/.ssh/known_hosts`,
    'ConnectTimeout=20',
    'ServerAliveInterval=15',
    'ServerAliveCountMax=4',
    'ForwardAgent=no',
    'ClearAllForwardings=yes',
    'PermitLocalCommand=no',
  ]
  return ['ssh', ...settings.map((setting) => `-o '${setting.replaceAll("'", "'\\''")}'`)].join(' ')
}
