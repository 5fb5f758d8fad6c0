import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { totalmem } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { ARGUMENTS_DESCRIPTOR, FILTER_DESCRIPTOR } from './sandbox-scripts.ts'

/** What the host has, found once. */
export interface Toolbox {
  readonly bwrap: string
  readonly setpriv: string | null
  /** True when bwrap needs a user namespace (ordinary user). */
  readonly userNamespace: boolean
  /** File with the filter of system calls; null = there is none for this machine. */
  readonly filter: string | null
  /** Whether this bwrap can bound what it keeps in memory as files (0.7 on). */
  readonly sizes?: boolean
  /** Host paths shown read only under the same name. */
  readonly readOnly: readonly string[]
}

export interface BubblewrapView {
  readonly directory: string
  readonly mountPoint: string
  readonly mounts: readonly { readonly source: string; readonly target: string; readonly writable: boolean }[]
  readonly workingDirectory: string
  /** Files in memory are bounded like the memory itself, also where the host can't limit that; null = half of the host's. */
  readonly memoryMb?: number | null
}

const MiB = 1024 ** 2
/** Files of /etc that ordinary programs need; the rest of it (shadow, keys, other services' settings) stays out of sight. */
const ETC = [
  'resolv.conf',
  'hosts',
  'nsswitch.conf',
  'host.conf',
  'services',
  'protocols',
  'localtime',
  'timezone',
  'ssl',
  'pki',
  'ca-certificates',
  'ca-certificates.conf',
  'alternatives',
  'ld.so.cache',
  'ld.so.conf',
  'ld.so.conf.d',
  'mime.types',
  'os-release',
  'debian_version',
  'alpine-release',
  'php',
  'java-17-openjdk',
  'java-21-openjdk',
  'fonts',
  'magic',
  'gai.conf',
  'gitconfig',
  'npmrc',
  'profile',
].map((name) => `/etc/${name}`)

/** The directories of the running node and its npm, where they are not below /usr or /opt already (nvm, a tarball in a home). */
export function nodePaths(execPath: string): readonly string[] {
  const bin = dirname(execPath)
  if (covered(bin)) return []
  // Never the prefix itself: it may be a home directory.
  const modules = join(dirname(bin), 'lib', 'node_modules')
  return [basename(bin) === 'bin' ? bin : execPath, ...(existsSync(modules) ? [modules] : [])]
}

export function covered(path: string): boolean {
  return ['/usr/', '/opt/', '/bin/', '/sbin/', '/lib/', '/lib64/'].some((prefix) => `${path}/`.startsWith(prefix))
}

/** Of /proc, what tells of the machine or of others; Docker hides the same. bwrap itself makes `sys`, `irq` and `bus` read only. */
const HIDDEN_FILES = ['kcore', 'keys', 'kmsg', 'latency_stats', 'timer_list', 'timer_stats', 'sched_debug', 'interrupts']
const HIDDEN_DIRECTORIES = ['acpi', 'asound', 'scsi', 'fs']

/** The start of bwrap; what it shall show, it reads from a descriptor. */
export function bubblewrapCommand({ bwrap, filter }: Toolbox): readonly string[] {
  const filtered = filter === null ? [] : ['--seccomp', String(FILTER_DESCRIPTOR)]
  return [bwrap, '--args', String(ARGUMENTS_DESCRIPTOR), ...filtered, '--']
}

/** Arguments of bwrap; pure but for looking at which of the host's paths exist. */
export function bubblewrapArguments(tools: Toolbox, view: BubblewrapView): readonly string[] {
  const args = new ArgumentList()
  if (tools.userNamespace) args.push('--unshare-user', '--cap-drop', 'ALL')
  // The parent is the supervisor of the instance, or the builder: without it nothing could record how the command ended.
  args.push('--die-with-parent', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try', '--new-session')
  for (const path of ['/usr', '/bin', '/sbin', '/lib', '/lib32', '/lib64', '/libx32', '/opt', ...ETC, ...tools.readOnly])
    args.readOnly(path)
  // Mounted after the list above, so that nothing in it can cover them.
  args.push('--proc', '/proc', '--dev', '/dev', '--perms', '0755', '--dir', '/run')
  const bytes = (view.memoryMb ?? Math.floor(totalmem() / 2 / MiB)) * MiB
  const size = tools.sizes === true ? ['--size', String(bytes)] : []
  for (const path of ['/tmp', '/dev/shm', '/var/tmp']) args.push('--perms', '1777', ...size, '--tmpfs', path)
  for (const name of HIDDEN_FILES) if (existsSync(`/proc/${name}`)) args.push('--ro-bind', '/dev/null', `/proc/${name}`)
  for (const name of HIDDEN_DIRECTORIES) {
    const path = `/proc/${name}`
    if (existsSync(path)) args.push('--perms', '0555', '--tmpfs', path, '--remount-ro', path)
  }
  for (const mount of view.mounts) args.bind(mount.writable ? '--bind' : '--ro-bind', mount.source, mount.target)
  args.bind('--bind', view.directory, view.mountPoint)
  args.push('--chdir', join(view.mountPoint, view.workingDirectory))
  return args.list
}

class ArgumentList {
  readonly list: string[] = []
  readonly #made = new Set(['/', '/proc', '/dev', '/tmp'])

  push(...args: readonly string[]): void {
    this.list.push(...args)
  }

  /** A path of the host under its own name; a symbolic link (merged /usr) is shown as one. */
  readOnly(path: string): void {
    const link = linkTarget(path)
    if (link === undefined) return
    this.#parents(path)
    if (link !== null && !path.startsWith('/etc/')) this.push('--symlink', link, path)
    else this.push('--ro-bind-try', path, path)
  }

  bind(option: '--bind' | '--ro-bind', source: string, target: string): void {
    this.#parents(target)
    this.push(option, source, target)
  }

  /** bwrap would make missing parents with mode 0700, which the tenant's user can't enter. */
  #parents(path: string): void {
    const missing: string[] = []
    for (let parent = dirname(path); !this.#made.has(parent); parent = dirname(parent)) missing.unshift(parent)
    for (const parent of missing) {
      this.#made.add(parent)
      if (!covered(parent)) this.push('--perms', '0755', '--dir', parent)
    }
  }
}

/** Target of a link, null for anything else that exists, undefined for what does not exist. */
function linkTarget(path: string): string | null | undefined {
  try {
    return lstatSync(path).isSymbolicLink() ? readlinkSync(path) : null
  } catch {
    return undefined
  }
}
