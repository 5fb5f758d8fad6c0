import { mkdir, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import type { ForeignPrograms } from '../core/foreign-programs.ts'
import type { HostGuard } from '../core/host-guard.ts'
import { LIMITS } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { printable } from '../core/printable.ts'
import { removeTree } from '../core/remove-tree.ts'
import type { Revision, Source } from '../domain/deployment.ts'
import { checkGitRef, type GitAddress, parseGitAddress } from './git-address.ts'
import { checkOut } from './git-checkout.ts'
import type { Git } from './git-command.ts'
import { gitFailure, lacksCommit, refusesUnadvertised } from './git-failure.ts'
import { listHeads, type RemoteTarget, refNotFound, resolveRemote } from './git-ref.ts'
import { type GitRoomOptions, openGitRoom } from './git-room.ts'
import { placeSubmodule, readSubmodules, type Submodule } from './git-submodules.ts'
import { assertNamedDirectory, type LocalRepositories } from './local-repository.ts'
import type { FetchRequest, SourceFetcher } from './source.ts'

export interface GitSourceOptions {
  readonly programs: ForeignPrograms
  readonly hosts: HostGuard
  /** Which paths of this host are sources. */
  readonly local: LocalRepositories
  /** For what one git needs, its credentials among it. */
  readonly memory: MemoryDirectory
  readonly logger: Logger
  /** PATH for git and ssh. Default: the usual system directories. */
  readonly searchPath?: string
  /** 0 for servers that mishandle git's protocol version 2. */
  readonly protocolVersion?: 0 | 2
  /** PEM file of the certificates to believe in place of those of the system. */
  readonly caFile?: string | null
  /** Bound for what is downloaded, and for what is checked out. Default LIMITS.gitCloneBytes. */
  readonly bytesMax?: number
}

export const SYSTEM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
const SIZE_CHECK_MS = 250

interface Checkout {
  readonly git: Git
  readonly address: GitAddress
  /** The address as git is given it. */
  readonly url: string
  /** On the host; git works in it. */
  readonly directory: string
  readonly ref: string | null
  /** Wanted in place of the tip, if the ref still holds it. */
  readonly commit: string | null
  readonly isExact: boolean
  readonly signal: AbortSignal
  readonly onLine: (line: string) => void
  readonly bytesMax: number
}

/** Fetches one exact commit, as shallow as the server lets us. The tree is kept, `.git` is not. */
export function createGitSource(options: GitSourceOptions): SourceFetcher {
  const roomOptions = {
    ...options,
    searchPath: options.searchPath ?? SYSTEM_PATH,
    protocolVersion: options.protocolVersion ?? 2,
    caFile: options.caFile ?? null,
  }
  const parse = (source: Source): { address: GitAddress; ref: string | null } => {
    if (source.kind !== 'git') throw new ShiplockError('INTERNAL', `the git source was given a ${source.kind} source`)
    if (source.ref !== null) checkGitRef(source.ref)
    const address = parseGitAddress(source.url)
    if (address.path !== null) assertNamedDirectory(address.path, options.local)
    return { address, ref: source.ref }
  }
  return {
    kind: 'git',
    validate: (source) => void parse(source),
    fetch: async (request: FetchRequest): Promise<Revision> => {
      const { address, ref } = parse(request.source)
      request.signal.throwIfAborted()
      const commit = request.commit ?? null
      const wanted = { ref, commit, isExact: request.isExact === true && commit !== null }
      try {
        const budget = { bytes: options.bytesMax ?? LIMITS.gitCloneBytes, submodules: LIMITS.gitSubmodules }
        return await fetchTree(roomOptions, request, { address, directory: request.directory, depth: 0, ...wanted }, budget)
      } catch (error) {
        await removeTree(request.directory)
        options.logger.debug('git fetch failed', { error: error as Error })
        throw error
      }
    },
    readHeads: async ({ source, credentials, branches, signal, projectId }) => {
      const { address } = parse(source)
      for (const branch of branches) checkGitRef(branch)
      const room = await openGitRoom(roomOptions, { address, credentials, projectId: projectId ?? null, directory: null, signal })
      try {
        return await listHeads({ git: room.git, address, url: room.url, signal }, branches)
      } finally {
        await room.close()
      }
    },
  }
}

interface Tree extends Pick<Checkout, 'address' | 'directory' | 'ref' | 'commit' | 'isExact'> {
  /** 0 = the repository itself. */
  readonly depth: number
}

/** A repository and, once nobody works in it any more, what it links to: each in a room of its own, under the same rules. */
async function fetchTree(
  options: GitRoomOptions,
  request: FetchRequest,
  tree: Tree,
  budget: { bytes: number; submodules: number },
): Promise<Revision> {
  const { signal, onLine, credentials } = request
  const { address, directory } = tree
  await removeTree(directory)
  await mkdir(directory, { mode: 0o755 })
  const room = await openGitRoom(options, { address, credentials, projectId: request.scope?.projectId ?? null, directory, signal })
  let brought: Brought
  try {
    if (room.about !== null) onLine(room.about)
    brought = await bring({ git: room.git, url: room.url, ...tree, signal, onLine, bytesMax: budget.bytes })
  } finally {
    await removeTree(join(directory, '.git'))
    await room.close()
  }
  budget.bytes -= brought.bytes
  for (const { path, commit, address: from } of brought.submodules) {
    budget.submodules -= 1
    if (tree.depth >= LIMITS.gitSubmoduleDepth || budget.submodules < 0) {
      throw new ShiplockError(
        'SOURCE_REFUSED',
        `the submodules are more than ${LIMITS.gitSubmodules}, or nest deeper than ${LIMITS.gitSubmoduleDepth}`,
      )
    }
    onLine(`submodule ${printable(path)}`)
    // A name that no tree can hold, and that is gone with this one.
    const apart = join(directory, '.git')
    try {
      await fetchTree(
        options,
        request,
        { address: from, directory: apart, ref: commit, commit: null, isExact: false, depth: tree.depth + 1 },
        budget,
      )
      await placeSubmodule(directory, path, apart)
    } finally {
      await removeTree(apart)
    }
  }
  return brought.revision
}

interface Brought {
  readonly revision: Revision
  readonly bytes: number
  readonly submodules: readonly Submodule[]
}

async function bring(checkout: Checkout): Promise<Brought> {
  const { git, address, directory, signal, onLine } = checkout
  onLine(`cloning ${address.url}${checkout.ref === null ? '' : ` at ${checkout.ref}`}`)
  const target = await resolveRemote(checkout, checkout.ref)
  await run(git(['init', '--quiet', '--template='], { signal }), 'can’t make a repository')
  const bound = watchSize(join(directory, '.git', 'objects', 'pack'), checkout.bytesMax, signal)
  let commit: string
  try {
    commit = await fetchTarget({ ...checkout, signal: bound.signal }, target)
  } finally {
    bound.stop()
  }
  if (checkout.isExact && commit !== checkout.commit) throw movedOn(checkout)
  const { bytes, submodules: links } = await checkOut({ git, bytesMax: checkout.bytesMax, signal }, commit)
  const submodules = await readSubmodules(git, { commit, links, parent: address, signal })
  const revision = await describe(checkout, commit, target.kind === 'ref' ? target.shown : target.prefix)
  onLine(`commit ${commit.slice(0, 12)} “${revision.message}” by ${revision.author}`)
  return { revision, bytes, submodules }
}

function movedOn({ ref, commit }: Checkout): ShiplockError {
  return new ShiplockError('REF_NOT_FOUND', `${ref} no longer holds commit ${commit?.slice(0, 12)}`, {
    hint: 'It was pushed over. What it holds now is deployed when its own event is decided.',
  })
}

async function fetchTarget(checkout: Checkout, target: RemoteTarget): Promise<string> {
  if (target.kind === 'ref') {
    const { commit } = checkout
    const isTip = commit === null || commit === target.commit
    const pushed = isTip ? null : await fetchPushed(checkout, target, commit)
    if (!isTip && pushed === null && checkout.isExact) throw movedOn(checkout)
    return pushed ?? fetchTip(checkout, target.name, target.commit)
  }
  if (!target.whole) {
    checkout.onLine(`looking for a commit that begins with ${target.prefix}`)
    return fetchByPrefix(checkout, target.prefix)
  }
  const result = await fetchShallow(checkout, target.prefix)
  if (result.exitCode === 0) return target.prefix
  if (lacksCommit(result)) throw await refNotFound(checkout, target.prefix)
  if (!refusesUnadvertised(result)) throw gitFailure(`can’t fetch ${target.prefix}`, result)
  checkout.onLine('the server gives out only branches and tags: fetching their whole history')
  return fetchByPrefix(checkout, target.prefix)
}

/**
 * A commit that was pushed and is no longer the tip. It counts only as part of the ref: hosts give out commits of forks by their id, too.
 * Null = it is not (or is too far back to tell), the tip is what is meant.
 */
async function fetchPushed(checkout: Checkout, target: RemoteTarget & { kind: 'ref' }, commit: string): Promise<string | null> {
  const { git, url, signal, onLine } = checkout
  const depth = `--depth=${LIMITS.gitPushedDepth}`
  const fetched = await git(['fetch', '--quiet', '--no-tags', depth, '--', url, target.name], { signal })
  if (fetched.exitCode !== 0) throw gitFailure(`can’t fetch ${target.name}`, fetched)
  const onRef = await git(['merge-base', '--is-ancestor', commit, 'FETCH_HEAD'], { signal })
  if (onRef.exitCode === 0) {
    onLine(`the push was of ${commit.slice(0, 12)}; ${target.name} has moved on since`)
    return commit
  }
  onLine(
    `the push was of ${commit.slice(0, 12)}, which is not among the last ${LIMITS.gitPushedDepth} commits of ${target.name}: its tip is taken`,
  )
  return null
}

/** By commit, so that what was looked up is what comes; by name where the server insists, then it must still be that commit. */
async function fetchTip(checkout: Checkout, name: string, commit: string): Promise<string> {
  const byCommit = await fetchShallow(checkout, commit)
  if (byCommit.exitCode === 0) return commit
  if (!refusesUnadvertised(byCommit) && !lacksCommit(byCommit)) throw gitFailure(`can’t fetch ${name}`, byCommit)
  const byName = await fetchShallow(checkout, name)
  if (byName.exitCode !== 0) throw gitFailure(`can’t fetch ${name}`, byName)
  return revParse(checkout, 'FETCH_HEAD')
}

function fetchShallow(checkout: Checkout, what: string) {
  const { git, url, signal } = checkout
  return git(['fetch', '--quiet', '--no-tags', '--depth=1', '--', url, what], { signal })
}

/** The whole history of branches and tags, for a commit that can't be asked for by name. Bounded by `LIMITS.gitCloneBytes`. */
async function fetchByPrefix(checkout: Checkout, prefix: string): Promise<string> {
  const { git, url, signal } = checkout
  const refspecs = ['+refs/heads/*:refs/remotes/origin/*', '+refs/tags/*:refs/tags/*']
  await run(
    git(['fetch', '--quiet', '--no-tags', '--', url, ...refspecs], { signal }),
    `can’t fetch the history of ${checkout.address.url}`,
  )
  const found = await git(['rev-parse', '--quiet', '--verify', `${prefix}^{commit}`], { signal })
  if (found.exitCode === 0) return found.stdout.trim()
  if (found.stderrTail.join('\n').includes('ambiguous')) {
    throw new ShiplockError('REF_NOT_FOUND', `more than one commit begins with ${prefix}`, { hint: 'Give more digits of the commit.' })
  }
  throw await refNotFound(checkout, prefix)
}

async function revParse(checkout: Checkout, what: string): Promise<string> {
  const { git, signal } = checkout
  return (await run(git(['rev-parse', '--verify', `${what}^{commit}`], { signal }), `can’t find ${what}`)).trim()
}

async function describe(checkout: Checkout, commit: string, ref: string): Promise<Extract<Revision, { kind: 'git' }>> {
  const { git, signal } = checkout
  const args = ['log', '-1', '--no-show-signature', '--format=%H%x00%an <%ae>%x00%s', commit, '--']
  const [hash = commit, author = '', message = ''] = (await run(git(args, { signal }), `can’t read ${commit}`)).trim().split('\0')
  return { kind: 'git', commit: hash, message: short(message), author: short(author), ref }
}

function short(text: string): string {
  const clean = printable(text)
  return clean.length > TEXT_MAX ? `${clean.slice(0, TEXT_MAX - 1)}…` : clean
}
const TEXT_MAX = 300

async function run(command: ReturnType<Git>, doing: string): Promise<string> {
  const result = await command
  if (result.exitCode !== 0) throw gitFailure(doing, result)
  return result.stdout
}

/** git has no bound for what it downloads; the packs are watched as they grow, and the fetch is ended above the limit. */
function watchSize(packDirectory: string, bytesMax: number, outer: AbortSignal): { signal: AbortSignal; stop: () => void } {
  const controller = new AbortController()
  const timer = setInterval(async () => {
    if ((await bytesIn(packDirectory)) <= bytesMax) return
    controller.abort(
      new ShiplockError('SOURCE_REFUSED', `the repository is larger than ${bytesMax} bytes`, {
        hint: 'Deploy a branch with less history, or upload the directory.',
        details: { bytesMax },
      }),
    )
  }, SIZE_CHECK_MS)
  return { signal: AbortSignal.any([outer, controller.signal]), stop: () => clearInterval(timer) }
}

async function bytesIn(directory: string): Promise<number> {
  const names = await readdir(directory).catch(() => [])
  const sizes = await Promise.all(
    names.map((name) =>
      stat(join(directory, name)).then(
        ({ size }) => size,
        () => 0,
      ),
    ),
  )
  return sizes.reduce((sum, size) => sum + size, 0)
}
