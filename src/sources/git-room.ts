import { randomBytes } from 'node:crypto'
import { copyFile, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { CommandResult } from '../core/exec.ts'
import type { ForeignPrograms, RoomMount } from '../core/foreign-programs.ts'
import type { HostGuard } from '../core/host-guard.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { createRedactor } from '../core/redact.ts'
import { removeTree } from '../core/remove-tree.ts'
import type { ProjectId } from '../domain/ids.ts'
import type { GitAddress } from './git-address.ts'
import { createGit, type Git } from './git-command.ts'
import { prepareCredentials } from './git-credentials.ts'
import { findLocalRepository, type LocalRepositories } from './local-repository.ts'
import type { SourceCredentials } from './source.ts'

export interface GitRoomOptions {
  readonly programs: ForeignPrograms
  readonly hosts: HostGuard
  readonly local: LocalRepositories
  /** For what one git needs, its credentials among it; emptied at every start. */
  readonly memory: MemoryDirectory
  readonly searchPath: string
  readonly protocolVersion: 0 | 2
  readonly caFile: string | null
  readonly logger: Logger
}

export interface GitRoomRequest {
  readonly address: GitAddress
  readonly credentials: SourceCredentials | undefined
  readonly projectId: ProjectId | null
  /** Where git works; null = an empty directory. */
  readonly directory: string | null
  readonly signal: AbortSignal
}

export interface GitRoom {
  readonly git: Git
  /** The address as git is to be given it. */
  readonly url: string
  /** Which credentials are used; null = none. */
  readonly about: string | null
  /** Nothing is left of it but the request's directory, which belongs to the server again. */
  close(): Promise<void>
}

const SETTINGS = '/run/shiplock/git'
const REPOSITORY = '/run/shiplock/repository'

const ROOMS = 'git'

/** Makes a directory for one use, through which others may pass; `remove` it. */
export async function freshRoom(memory: MemoryDirectory): Promise<{ readonly path: string; remove(): Promise<void> }> {
  const name = join(ROOMS, randomBytes(12).toString('hex'))
  return { path: await memory.make(name, 0o711), remove: () => memory.remove(name) }
}

/** What a server that was killed left behind. Before the first fetch. `oldDirectory`: where servers before this one had it, on disk. */
export async function sweepGitRooms(memory: MemoryDirectory, oldDirectory: string, programs: ForeignPrograms): Promise<void> {
  await programs.sweep()
  await memory.remove(ROOMS)
  await removeTree(join(oldDirectory, 'credentials'))
}

/** Everything that one git needs, in a room of its own: the repository's address looked up, what opens it, a home without a word in it. */
export async function openGitRoom(options: GitRoomOptions, request: GitRoomRequest): Promise<GitRoom> {
  const { address, signal } = request
  const addresses = address.path === null ? await options.hosts.resolve(new URL(address.url).hostname, signal) : null
  const repository = address.path === null ? null : await findLocalRepository(address.path, options.local)
  const base = await freshRoom(options.memory)
  try {
    return await furnish(options, { ...request, base, addresses, repository })
  } catch (error) {
    await base.remove()
    throw error
  }
}

interface Furnishing extends GitRoomRequest {
  readonly base: Awaited<ReturnType<typeof freshRoom>>
  readonly addresses: readonly string[] | null
  readonly repository: string | null
}

async function furnish(options: GitRoomOptions, request: Furnishing): Promise<GitRoom> {
  const { address, base, addresses, repository } = request
  const settings: RoomMount = { source: join(base.path, 'settings'), target: SETTINGS, isTheirs: true }
  const served: RoomMount | null = repository === null ? null : { source: repository, target: REPOSITORY }
  const directory = request.directory ?? join(base.path, 'work')
  await mkdir(join(settings.source, 'home'), { recursive: true, mode: 0o700 })
  if (request.directory === null) await mkdir(directory, { mode: 0o700 })
  const confined = options.programs.isConfined
  const inside = (mount: RoomMount) => (confined ? mount.target : mount.source)
  const opened = await prepareCredentials({
    address,
    credentials: request.credentials,
    addresses,
    directory: settings.source,
    directoryInside: inside(settings),
  })
  if (options.caFile !== null) await copyFile(options.caFile, join(settings.source, 'ca.pem'))
  if (served !== null) await writeFile(join(settings.source, 'gitconfig'), safeDirectory(inside(served)), { mode: 0o600 })
  const room = await options.programs.open({
    purpose: 'git',
    projectId: request.projectId,
    directory,
    mounts: served === null ? [settings] : [settings, served],
    memoryMb: LIMITS.gitMemoryMb,
    needsName: address.protocol === 'ssh',
  })
  const at = (name: string) => join(inside(settings), name)
  const git = createGit({
    room,
    protocol: address.protocol,
    home: at('home'),
    configuration: served === null ? null : at('gitconfig'),
    searchPath: options.searchPath,
    protocolVersion: options.protocolVersion,
    caFile: options.caFile === null ? null : at('ca.pem'),
    settings: address.protocol === 'https' && addresses !== null ? pinned(address.url, addresses) : [],
    env: opened.env,
  })
  return {
    git: heard(git, options.logger, opened.secrets),
    url: served === null ? address.url : pathToFileURL(inside(served)).href,
    about: opened.about,
    close: async () => {
      try {
        await room.close()
      } finally {
        await base.remove()
      }
    },
  }
}

/** curl asks nobody again: not for this name, nor, on that port, for any other. git before 2.37 does not know the setting. */
function pinned(url: string, addresses: readonly string[]): readonly string[] {
  const { hostname, port } = new URL(url)
  const targets = addresses.map((address) => (address.includes(':') ? `[${address}]` : address)).join(',')
  const at = `${port === '' ? '443' : port}:${targets}`
  return [`http.curloptResolve=${hostname.replace(/^\[|\]$/g, '')}:${at}`, `http.curloptResolve=*:${at}`]
}

/**
 * git refuses to serve a repository that belongs to another user unless a configuration outside of it lists it: that user's hooks and
 * settings would run. The only program that we run in there is `git upload-pack`, which is made to serve untrusted repositories; it has
 * no more rights than the project has.
 */
function safeDirectory(path: string): string {
  return `[safe]\n\tdirectory = "${path.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"\n`
}

/** What git says goes to the server's own log and nowhere else: it may hold lines of whatever git was made to read. */
function heard(git: Git, logger: Logger, secrets: readonly string[]): Git {
  const redact = createRedactor(secrets)
  return async (args, run) => {
    const result = await git(args, run)
    if (result.exitCode !== 0) logger.debug('git failed', { command: args[0], exitCode: result.exitCode, said: said(result, redact) })
    return result
  }
}

function said({ stderrTail }: CommandResult, redact: (text: string) => string): string {
  return redact(stderrTail.join('\n')).slice(-LIMITS.gitSaidLength)
}
