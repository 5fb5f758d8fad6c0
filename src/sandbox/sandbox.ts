import type { CommandResult } from '../core/exec.ts'
import type { Tenant } from '../domain/tenant.ts'

/** What a sandboxed command may see and use. Paths are absolute, on the host. */
export interface SandboxSpec {
  /** Names cgroup and logs; one living sandbox per name. Lower case letters, digits, `_`, `-`. */
  readonly name: string
  /** Tenants never share a user id where the sandbox can give them their own (I10). */
  readonly tenant: Tenant
  readonly argv: readonly string[]
  /** The whole environment; nothing is inherited from the server. */
  readonly env: Readonly<Record<string, string>>
  /** Host directory that the command sees at `mountPoint` and may write. */
  readonly directory: string
  /** Where the command sees `directory`, e.g. `/var/www` or `/build/source`; without a mount namespace it sees `directory` itself. */
  readonly mountPoint: string
  /** Further host paths to see. */
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly writable: boolean }[]
  /** Working directory below `mountPoint`; '' = the mount point itself. */
  readonly workingDirectory: string
  readonly memoryMb: number | null
  /** CPU share in cores; null = no limit. */
  readonly cpus: number | null
  /** Directories, as the command sees them, that come first on its PATH. */
  readonly searchFirst?: readonly string[]
  /** Share under contention; 100 = ordinary, the default. */
  readonly cpuWeight?: number
  readonly pidsMax: number
  /** Image whose system the command sees, by id; only where commands run in containers. */
  readonly image?: string | null
  /** Network to run in, made before; null or left out = the host's. */
  readonly network?: SandboxNetwork | null
  /** As the administrator of that image, so that packages can be installed; on a host everything runs as the tenant's user. */
  readonly asRoot?: boolean
  /** As `NAMED_USER` where the sandbox shows no list of accounts of its own: some programs (ssh) do not run as a user without a name. */
  readonly needsName?: boolean
}

/** `nobody`, on every system that has the name at all. */
export const NAMED_USER = 65_534

/** How to start the command so that it is confined: give argv, env and cwd to `spawn`. */
export interface SandboxedCommand {
  readonly file: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly uid?: number
  readonly gid?: number
  /** The path of `directory` as the command sees it. */
  readonly insidePath: string
  /** Put the spawned process (and so all its children) under its limits. Call right after spawn; does nothing where the command joins by itself. */
  attach(pid: number): void
  /** File whose content `1` ends everything in the sandbox at once, for supervisors that outlive the server; null where the kernel has none. */
  readonly killFile: string | null
}

export interface SandboxUsage {
  readonly oomKilled: boolean
  readonly memoryPeakBytes: number | null
}

/** What only sandboxes that are containers can do. A sandbox's container lives from its first command until `remove`. */
export interface SandboxContainers {
  /** Id of the image, brought into the engine if it is not there. @throws BASE_UNAVAILABLE */
  ensureImage(reference: string, options: { readonly onLine: (line: string) => void; readonly signal: AbortSignal }): Promise<string>
  hasImage(id: string): Promise<boolean>
  /** Keeps what commands changed outside of mounted directories, as an image of its own. `name` is that of the sandbox. Returns its id. */
  snapshot(name: string, tag: string): Promise<string>
  run(spec: SandboxSpec, options: ContainerRunOptions): Promise<CommandResult>
}

export interface ContainerRunOptions {
  readonly timeoutMs: number
  readonly signal: AbortSignal
  /** Printable. */
  readonly onLine: (line: string) => void
}

/** Confinement of user code on the host, shared by the recipe builder and the process runtime. */
export interface Sandbox {
  /** null = commands run on the host, by `prepare`; otherwise only `containers.run` runs them. */
  readonly containers: SandboxContainers | null
  /** What it really enforces here, for `doctor` and for the first log line of a build. */
  readonly description: SandboxDescription
  prepare(spec: SandboxSpec): Promise<SandboxedCommand>
  /** Kills everything that ever ran under that name, escaped children too; confirms that it is gone. A missing one is success. */
  kill(name: string): Promise<void>
  /** Pids, in the host's numbering, of all that runs under that name. */
  processes(name: string): readonly number[]
  /** Names of which something is left on this host: processes or cgroups. */
  list(): Promise<readonly string[]>
  usage(name: string): Promise<SandboxUsage>
  /** Removes cgroups and the like. A missing one is success. */
  remove(name: string): Promise<void>
  /**
   * Makes `directory` writable for the tenant's user, as it will run inside. `unlessOwned`: nothing is done when the directory itself is
   * that user's already, so that what he made in it is never followed by root.
   */
  own(directory: string, tenant: Tenant, options?: { readonly unlessOwned?: boolean }): Promise<void>
  /** Lets nobody but the tenant and the server pass through `directory`, which stays the server's: hosts without file system views need it. */
  enclose(directory: string, tenant: Tenant): Promise<void>
}

export interface SandboxDescription {
  readonly kind: 'bubblewrap' | 'none' | 'containers'
  readonly filesystem: boolean
  readonly processes: boolean
  readonly memory: boolean
  readonly cpu: boolean
  readonly ownUser: boolean
  /** System calls that no app needs are refused. */
  readonly systemCalls: boolean
  /** One sentence for people: what is confined and what is not, and what to install. */
  readonly summary: string
}

/** Of whom a network is. */
export interface NetworkMember {
  /** Members of one environment reach each other; nobody else reaches them. */
  readonly environment: string
  /** Name of the project, by which the server's owner opens ports of the host to it. */
  readonly project: string
  /** Name under which members of its environment find it; null = none. */
  readonly alias: string | null
  /** Port at which it is reached even when it listens on its own loopback only. */
  readonly port: number | null
}

/** A network that is there, to be entered by `prepare`. */
export interface SandboxNetwork {
  readonly address: string
  /** File that names its namespace. */
  readonly namespace: string
  /** Files of the host to show to what runs in it, e.g. as /etc/hosts. */
  readonly files: readonly { readonly source: string; readonly target: string }[]
}

/** Networks of their own for what runs in sandboxes. They outlive the server. Every call may be made twice. */
export interface SandboxNetworks {
  /** False = what is launched from now on runs in the host's network. */
  readonly isOn: boolean
  /** One sentence for people. */
  readonly summary: string
  /** What is in the way of traffic on this host, as sentences for people; empty = nothing that could be seen. */
  obstacles(): Promise<readonly string[]>
  /** Takes up what earlier servers left, and removes what nobody wants any more. */
  open(isWanted: (name: string) => boolean): Promise<void>
  /** Lets go; networks stay. When nobody has an address any more, nothing is left on the host. */
  close(): Promise<void>
  /** When no network is left, nothing else is either; addresses stay reserved. For the end of everything, the edge too. */
  end(): Promise<void>
  /** Gives the member its address, the one that it has already where it can keep it. Held until `release`. */
  reserve(name: string, member: NetworkMember): Promise<string>
  /** Makes the network of a member, anew when there is one. @throws RUNTIME_UNAVAILABLE */
  join(name: string): Promise<SandboxNetwork>
  present(name: string): Promise<SandboxNetwork | null>
  /** Removes the network; the address stays reserved. */
  leave(name: string): Promise<void>
  release(name: string): Promise<void>
  /** Members whose networks are there. */
  names(): readonly string[]
}
