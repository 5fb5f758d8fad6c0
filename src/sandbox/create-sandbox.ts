import { createHash, randomBytes } from 'node:crypto'
import { existsSync, statSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'
import type { Cgroups } from '../core/cgroup.ts'
import { detectCgroups } from '../core/cgroup-detect.ts'
import { runCommand } from '../core/exec.ts'
import type { Logger } from '../core/log.ts'
import { MemoryDirectory } from '../core/memory-directory.ts'
import { bubblewrapArguments, bubblewrapCommand, nodePaths, type Toolbox } from './bubblewrap.ts'
import { dropUser } from './drop-user.ts'
import { HostSandbox, type HostSandboxParts, PROBES } from './host-sandbox.ts'
import type { SandboxDescription } from './sandbox.ts'
import { JOIN_SCRIPT } from './sandbox-scripts.ts'
import { encodedFilter, hasFilter } from './seccomp/filter.ts'
import { TenantUsers } from './tenant-users.ts'

export interface CreateSandboxOptions {
  /** The engine's own; made if missing. Two sandboxes on one directory know each other's processes, on different ones they never meet. */
  readonly stateDirectory: string
  readonly logger: Logger
  /** For variables of what is being started. Default: one of the state directory's own. */
  readonly memory?: MemoryDirectory
  /** `none` refuses bubblewrap even where it works; tests and hosts that confine by other means use it. */
  readonly kind?: 'auto' | 'none'
  /** `false` goes without cgroups even where they work. */
  readonly cgroups?: boolean
  /** What commands have of the network, as a sentence; default = the host's. */
  readonly networkSummary?: string
}

/** An ordinary user id that exists nowhere, to try things with. */
const PROBE_USER = 199_999
const PROBE_TIMEOUT_MS = 10_000

/** Tries once what this host allows and takes the strongest confinement that really works. */
export async function createSandbox(options: CreateSandboxOptions): Promise<HostSandbox> {
  await mkdir(options.stateDirectory, { recursive: true, mode: 0o711 })
  const stateDirectory = await realpath(options.stateDirectory)
  const engine = createHash('sha256').update(stateDirectory).digest('hex').slice(0, 12)
  const memory = options.memory ?? (await ownMemory(stateDirectory))
  const isRoot = process.getuid?.() === 0
  const setpriv = firstExisting(['/usr/bin/setpriv', '/bin/setpriv'])
  const filter = await writeFilter(stateDirectory)
  const tools = options.kind === 'none' ? null : await findBubblewrap({ setpriv, isRoot, filter, memory })
  const ownUser = isRoot && setpriv !== null && (tools !== null || canBeEnteredByAll(stateDirectory))
  const cgroups = options.cgroups === false ? null : detectCgroups(engine)
  const parts: HostSandboxParts = {
    engine,
    stateDirectory,
    tools,
    setpriv: ownUser ? setpriv : null,
    cgroups,
    users: new TenantUsers(stateDirectory),
    memory,
    description: describe(tools, cgroups, ownUser, options.networkSummary ?? 'The network is shared with the host.'),
  }
  options.logger.info('sandbox ready', { summary: parts.description.summary })
  return new HostSandbox(parts)
}

function ownMemory(stateDirectory: string): Promise<MemoryDirectory> {
  return MemoryDirectory.find({ dataDirectory: stateDirectory, fallback: join(stateDirectory, 'private') })
}

/** bwrap takes the filter from a file. Named by its content, since living servers of two versions may share the directory. */
async function writeFilter(stateDirectory: string): Promise<string | null> {
  if (!hasFilter(process.arch)) return null
  const program = encodedFilter(process.arch)
  const file = join(stateDirectory, `filter-${createHash('sha256').update(program).digest('hex').slice(0, 12)}.bpf`)
  if (!existsSync(file)) await writeFileAtomic(file, program)
  return file
}

interface Host {
  readonly setpriv: string | null
  readonly isRoot: boolean
  readonly filter: string | null
  readonly memory: MemoryDirectory
}

async function findBubblewrap({ setpriv, isRoot, filter, memory }: Host): Promise<Toolbox | null> {
  const bwrap = firstExisting(['/usr/bin/bwrap', '/usr/local/bin/bwrap', '/bin/bwrap'])
  if (bwrap === null) return null
  const readOnly = nodePaths(await realpath(process.execPath))
  // As root without a user namespace first: it works in more places, and only there tenants get users of their own.
  const candidates: Toolbox[] = isRoot && setpriv !== null ? [{ bwrap, setpriv, userNamespace: false, filter, readOnly }] : []
  candidates.push({ bwrap, setpriv: null, userNamespace: true, filter, readOnly })
  // A kernel without filters is no reason to go without a file system view.
  const unfiltered = filter === null ? [] : candidates.map((tools) => ({ ...tools, filter: null }))
  for (const tools of [...candidates, ...unfiltered]) {
    if (!(await works(tools, memory))) continue
    const sized = { ...tools, sizes: true }
    return (await works(sized, memory)) ? sized : tools
  }
  return null
}

/** Runs a real command in a real sandbox: the presence of the program says nothing in a container. */
async function works(tools: Toolbox, memory: MemoryDirectory): Promise<boolean> {
  const view = { directory: '/usr/share', mountPoint: '/var/www', mounts: [], workingDirectory: '' }
  const command = [...dropUser(tools.setpriv, PROBE_USER), '/bin/sh', '-c', 'test ! -e /root/. && cd /var/www && echo works']
  const room = join(PROBES, randomBytes(6).toString('hex'))
  try {
    // Of its own, all of them: what has been opened is removed.
    const environment = await memory.write(join(room, 'environment'), '')
    const shown = await memory.write(join(room, 'arguments'), `${bubblewrapArguments(tools, view).join('\0')}\0`)
    const files = [environment, shown, tools.filter ?? '']
    const result = await runCommand(
      '/bin/sh',
      ['-c', JOIN_SCRIPT, 'shiplock', '', ...files, '--', ...bubblewrapCommand(tools), ...command],
      {
        env: {},
        timeoutMs: PROBE_TIMEOUT_MS,
      },
    )
    return result.exitCode === 0 && result.stdout.trim() === 'works'
  } catch {
    return false
  } finally {
    await memory.remove(room)
  }
}

function describe(tools: Toolbox | null, cgroups: Cgroups | null, ownUser: boolean, network: string): SandboxDescription {
  const memory = cgroups?.support.memory ?? false
  const cpu = cgroups?.support.cpu ?? false
  const isFiltered = tools !== null && tools.filter !== null
  const confined = tools === null ? 'not confined' : 'bubblewrap: own file system view and processes'
  const filtered = isFiltered ? ', a filter of system calls' : ', no filter of system calls'
  const user = ownUser ? 'a user per environment' : 'the user of the server'
  const limits = [memory ? 'memory' : null, cpu ? 'cpu' : null, cgroups?.support.pids ? 'process count' : null].filter(
    (part) => part !== null,
  )
  const limited = limits.length === 0 ? 'no limits (cgroups are not writable here)' : `limits on ${limits.join(', ')}`
  const advice =
    tools === null
      ? ' Code of one project can see files of another; install bubblewrap (apt-get install bubblewrap), or run only code that you trust.'
      : ''
  return {
    kind: tools === null ? 'none' : 'bubblewrap',
    filesystem: tools !== null,
    processes: tools !== null,
    memory,
    cpu,
    ownUser,
    systemCalls: isFiltered,
    summary: `Commands run ${confined}${filtered}, as ${user}, with ${limited}. ${network}${advice}`,
  }
}

/** Without a mount namespace a tenant's user must be able to walk to his directory. */
function canBeEnteredByAll(path: string): boolean {
  for (let current = path; ; current = dirname(current)) {
    if ((statSync(current).mode & 0o001) === 0) return false
    if (current === join(current, '..')) return true
  }
}

function firstExisting(paths: readonly string[]): string | null {
  return paths.find((path) => existsSync(path)) ?? null
}
