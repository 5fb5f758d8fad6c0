import { chmod, chown, mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'
import type { Cgroups } from '../core/cgroup.ts'
import { systemClock } from '../core/clock.ts'
import { ShiplockError } from '../core/errors.ts'
import { giveTree } from '../core/give-tree.ts'
import { LIMITS } from '../core/limits.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { removeTree } from '../core/remove-tree.ts'
import type { Tenant } from '../domain/tenant.ts'
import { bubblewrapArguments, bubblewrapCommand, type Toolbox } from './bubblewrap.ts'
import { dropUser } from './drop-user.ts'
import { environmentScript } from './environment-script.ts'
import { MARKER, processesByMarker } from './marked-processes.ts'
import { enterNetwork } from './network/enter-network.ts'
import { NAMED_USER, type Sandbox, type SandboxDescription, type SandboxedCommand, type SandboxSpec, type SandboxUsage } from './sandbox.ts'
import { ENTER_SCRIPT, JOIN_SCRIPT } from './sandbox-scripts.ts'
import type { TenantUsers } from './tenant-users.ts'

export interface HostSandboxParts {
  /** Hash of the state directory; keeps engines on one host apart. */
  readonly engine: string
  readonly stateDirectory: string
  /** null = no bubblewrap. */
  readonly tools: Toolbox | null
  /** null = everything runs as the user of the server. */
  readonly setpriv: string | null
  readonly cgroups: Cgroups | null
  readonly users: TenantUsers
  /** For variables and arguments of what is being started. */
  readonly memory: MemoryDirectory
  readonly description: SandboxDescription
}

const ENVIRONMENTS = 'environments'
const ARGUMENTS = 'arguments'
/** What was tried out while a sandbox was looked for. */
export const PROBES = 'probes'
const NAME = /^[a-z0-9][a-z0-9_-]{0,199}$/
const MiB = 1024 * 1024
const LOOKS_WITHOUT_CGROUPS = 3
const LOOK_PAUSE_MS = 3

/** A sandbox made of what the host has: bubblewrap or nothing, a user per environment or not, cgroups or not. */
export class HostSandbox implements Sandbox {
  readonly containers = null
  readonly description: SandboxDescription
  readonly users: TenantUsers
  readonly #parts: HostSandboxParts
  /** Users whose account files were written by this process; living sandboxes have them mounted, so they are replaced, never rewritten. */
  readonly #accounts = new Set<number>()

  constructor(parts: HostSandboxParts) {
    this.#parts = parts
    this.description = parts.description
    this.users = parts.users
  }

  /** Clears up after servers that were killed: the one that works now begins. Variables of earlier versions lay on disk. */
  async open(): Promise<void> {
    const { memory, stateDirectory } = this.#parts
    await removeTree(join(stateDirectory, ENVIRONMENTS))
    for (const kind of [ENVIRONMENTS, ARGUMENTS, PROBES]) await memory.removeOlder(kind, LIMITS.claimMs)
  }

  async prepare(spec: SandboxSpec): Promise<SandboxedCommand> {
    assertName(spec.name)
    const { tools, setpriv, cgroups } = this.#parts
    const insidePath = tools === null ? spec.directory : spec.mountPoint
    const user = await this.#userOf(spec)
    const environmentFile = await this.#writeEnvironment(spec, insidePath)
    const argumentsFile =
      tools === null ? '' : await this.#writeArguments(spec.name, tools, await this.#withAccounts(withNetworkFiles(spec), user))
    const joins =
      cgroups?.create(spec.name, {
        memoryBytes: spec.memoryMb === null ? null : spec.memoryMb * MiB,
        cpus: spec.cpus,
        cpuWeight: spec.cpuWeight ?? 100,
        pidsMax: spec.pidsMax,
      }) ?? []
    const confine = tools === null ? [] : bubblewrapCommand(tools)
    const files = [environmentFile, argumentsFile, tools?.filter ?? '']
    const inNetwork = enterNetwork(spec.network ?? null, tools !== null)
    const enter = [...inNetwork, ...confine, ...dropUser(setpriv, user), '/bin/sh', '-c', ENTER_SCRIPT, 'shiplock', ...spec.argv]
    return {
      file: '/bin/sh',
      args: ['-c', JOIN_SCRIPT, 'shiplock', `${this.#parts.engine}/${spec.name}`, ...files, ...joins, '--', ...enter],
      env: { [MARKER]: `${this.#parts.engine}/${spec.name}`, PATH: DEFAULT_PATH },
      cwd: tools === null ? join(spec.directory, spec.workingDirectory) : '/',
      insidePath,
      attach: () => {},
      killFile: cgroups?.killFile(spec.name) ?? null,
    }
  }

  async #userOf({ tenant, needsName }: SandboxSpec): Promise<number> {
    const { tools, setpriv } = this.#parts
    if (setpriv === null) return process.getuid?.() ?? 0
    return needsName === true && tools === null ? NAMED_USER : this.users.userOf(tenant)
  }

  processes(name: string): readonly number[] {
    const members = this.#parts.cgroups?.processes(name) ?? []
    return members.length > 0 ? members : (processesByMarker(this.#parts.engine).get(name) ?? [])
  }

  async kill(name: string): Promise<void> {
    assertName(name)
    const inGroup = (await this.#parts.cgroups?.kill(name)) ?? true
    const deadline = systemClock.monotonic() + LIMITS.killConfirmMs
    // Also after a clean kill of the cgroup: what joined none (a host without some controller) is found by its marker. Without cgroups it
    // takes several empty looks: a process that forks while the list is read slips past one, and one that is just being
    // replaced by exec shows no environment for a moment.
    const looks = this.#parts.cgroups === null ? LOOKS_WITHOUT_CGROUPS : 1
    for (let empty = 0; empty < looks; ) {
      const left = processesByMarker(this.#parts.engine).get(name) ?? []
      empty = left.length === 0 ? empty + 1 : 0
      for (const pid of left) signal(pid, 'SIGSTOP')
      for (const pid of left) signal(pid, 'SIGKILL')
      if (left.length > 0 && systemClock.monotonic() > deadline) throw stillRuns(name, left)
      if (empty < looks) await systemClock.sleep(LOOK_PAUSE_MS)
    }
    if (!inGroup) throw stillRuns(name, this.processes(name))
  }

  async list(): Promise<readonly string[]> {
    const names = new Set(this.#parts.cgroups?.list() ?? [])
    for (const [name, pids] of processesByMarker(this.#parts.engine)) if (pids.length > 0) names.add(name)
    return [...names].filter((name) => NAME.test(name))
  }

  async usage(name: string): Promise<SandboxUsage> {
    const memory = this.#parts.cgroups?.memory(name)
    return { oomKilled: (memory?.oomKills ?? 0) > 0, memoryPeakBytes: memory?.peakBytes ?? null }
  }

  async remove(name: string): Promise<void> {
    assertName(name)
    await this.#parts.cgroups?.remove(name)
    for (const kind of [ENVIRONMENTS, ARGUMENTS]) await this.#parts.memory.remove(join(kind, name))
  }

  async own(directory: string, tenant: Tenant, { unlessOwned = false }: { readonly unlessOwned?: boolean } = {}): Promise<void> {
    if (this.#parts.setpriv === null) return
    await giveTree(directory, await this.users.userOf(tenant), unlessOwned)
  }

  async enclose(directory: string, tenant: Tenant): Promise<void> {
    if (this.#parts.setpriv === null) return
    await chown(directory, 0, await this.users.userOf(tenant))
    await chmod(directory, 0o710)
  }

  async #writeEnvironment(spec: SandboxSpec, insidePath: string): Promise<string> {
    const path = [...(spec.searchFirst ?? []), spec.env.PATH ?? this.#path()].join(':')
    const script = environmentScript({ HOME: insidePath, LANG: 'C.UTF-8', ...spec.env, PATH: path })
    return this.#parts.memory.write(join(ENVIRONMENTS, spec.name), script)
  }

  /** Not on the command line: the first process of a sandbox shows its own to all in it, with the host's paths. */
  #writeArguments(name: string, tools: Toolbox, spec: SandboxSpec): Promise<string> {
    return this.#parts.memory.write(join(ARGUMENTS, name), `${bubblewrapArguments(tools, spec).join('\0')}\0`)
  }

  /** The node that runs the server comes first, so that a project without a base runs with the same one. */
  #path(): string {
    const node = dirname(process.execPath)
    return DEFAULT_PATH.split(':').includes(node) ? DEFAULT_PATH : `${node}:${DEFAULT_PATH}`
  }

  /** Shows accounts that name only root and the tenant's user: programs want to know who they are, not who else is there. */
  async #withAccounts(spec: SandboxSpec, user: number): Promise<SandboxSpec> {
    const directory = join(this.#parts.stateDirectory, 'accounts', String(user))
    const passwd = { source: join(directory, 'passwd'), target: '/etc/passwd', writable: false }
    const group = { source: join(directory, 'group'), target: '/etc/group', writable: false }
    if (this.#accounts.has(user)) return { ...spec, mounts: [passwd, group, ...spec.mounts] }
    await mkdir(directory, { recursive: true, mode: 0o755 })
    const own = user === 0 ? '' : `app:x:${user}:${user}:app:/tmp:/bin/sh\n`
    await writeFileAtomic(passwd.source, `root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n${own}`, 0o644)
    await writeFileAtomic(group.source, `root:x:0:\nnogroup:x:65534:\n${user === 0 ? '' : `app:x:${user}:\n`}`, 0o644)
    this.#accounts.add(user)
    return { ...spec, mounts: [passwd, group, ...spec.mounts] }
  }
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

function withNetworkFiles(spec: SandboxSpec): SandboxSpec {
  const files = (spec.network?.files ?? []).map((file) => ({ ...file, writable: false }))
  return { ...spec, mounts: [...files, ...spec.mounts] }
}

/** Names become paths and cgroups. */
function assertName(name: string): void {
  if (!NAME.test(name)) throw new ShiplockError('INTERNAL', `${JSON.stringify(name)} is no name for a sandbox`)
}

function stillRuns(name: string, pids: readonly number[]): ShiplockError {
  return new ShiplockError('INTERNAL', `processes of ${name} can't be killed: ${pids.join(', ')}`, { details: { name, pids } })
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {}
}
