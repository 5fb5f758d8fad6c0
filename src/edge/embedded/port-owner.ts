import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

const LISTEN = '0A'

/** Who listens on a TCP port, in words, as far as /proc lets this user see; null when it does not tell. */
export function describePortOwner(port: number): string | null {
  const [pid] = portOwners(port)
  if (pid === undefined) return null
  const command = read(`/proc/${pid}/cmdline`)?.split('\0').filter(Boolean).join(' ').slice(0, 120)
  return `pid ${pid}${command ? ` (${command})` : ''}`
}

/** The processes that hold a listening socket on the port. */
export function portOwners(port: number): readonly number[] {
  const inodes = new Set([...listeningInodes('/proc/net/tcp', port), ...listeningInodes('/proc/net/tcp6', port)])
  if (inodes.size === 0) return []
  return readdirSync('/proc')
    .filter((entry) => /^[0-9]+$/.test(entry) && holdsSocket(entry, inodes))
    .map(Number)
}

/** Rows of /proc/net/tcp: `sl local_address rem_address st … inode`, addresses as hex `ip:port` (proc(5)). */
export function inodesInTable(table: string, port: number): string[] {
  const wanted = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  return table
    .split('\n')
    .slice(1)
    .map((row) => row.trim().split(/\s+/))
    .filter((fields) => fields[1]?.endsWith(wanted) === true && fields[3] === LISTEN)
    .map((fields) => fields[9] ?? '')
}

function listeningInodes(path: string, port: number): string[] {
  return inodesInTable(read(path) ?? '', port)
}

function holdsSocket(pid: string, inodes: ReadonlySet<string>): boolean {
  try {
    return readdirSync(`/proc/${pid}/fd`).some((fd) => {
      try {
        const match = /^socket:\[([0-9]+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${fd}`))
        return match?.[1] !== undefined && inodes.has(match[1])
      } catch {
        return false
      }
    })
  } catch {
    return false
  }
}

function read(path: string): string | null {
  try {
    return readFileSync(path, 'latin1')
  } catch {
    return null
  }
}
