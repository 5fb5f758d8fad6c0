import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

/** A TCP socket in state LISTEN. */
export interface Listener {
  readonly host: string
  readonly port: number
  readonly inode: string
}

const LISTEN = '0A'

/** All TCP listeners of a process's network namespace; `self` = that of this server. */
export function listeners(pid: number | 'self' = 'self'): readonly Listener[] {
  return [`/proc/${pid}/net/tcp`, `/proc/${pid}/net/tcp6`].flatMap((file) => {
    try {
      return parseListeners(readFileSync(file, 'latin1'))
    } catch {
      return []
    }
  })
}

/** Lines of /proc/net/tcp and tcp6: `sl local_address rem_address st … inode` with addresses as hex in host byte order per 32-bit word. */
export function parseListeners(table: string): readonly Listener[] {
  const found: Listener[] = []
  for (const line of table.split('\n').slice(1)) {
    const fields = line.trim().split(/\s+/)
    const [address, port] = (fields[1] ?? '').split(':')
    const inode = fields[9]
    if (fields[3] !== LISTEN || address === undefined || port === undefined || inode === undefined) continue
    found.push({ host: formatAddress(address), port: Number.parseInt(port, 16), inode })
  }
  return found
}

/** The listeners that one of these processes holds. */
export function listenersOf(pids: readonly number[]): readonly Listener[] {
  const inodes = new Set(pids.flatMap(socketInodes))
  return pids[0] === undefined ? [] : listeners(pids[0]).filter((listener) => inodes.has(listener.inode))
}

/** Whether what a process has open can be looked at: one that is not ours, or hides itself, shows nothing. */
export function canLookInto(pid: number): boolean {
  try {
    readdirSync(`/proc/${pid}/fd`)
    return true
  } catch {
    return false
  }
}

/** A socket on `::` takes IPv4 connections too, unless the app asked it not to. */
const TAKES_LOOPBACK = new Set(['127.0.0.1', '0.0.0.0', '::'])

/** Whether a connection to that port of 127.0.0.1 may come to it. */
export function takesLoopback(listener: Listener, port: number): boolean {
  return listener.port === port && TAKES_LOOPBACK.has(listener.host)
}

/** Which of the processes holds a listener on that port; null when none does, or they can't be looked into. */
export function holderOf(port: number, pids: readonly number[]): number | null {
  const inodes = new Set(
    listeners()
      .filter((listener) => listener.port === port)
      .map((listener) => listener.inode),
  )
  return pids.find((pid) => socketInodes(pid).some((inode) => inodes.has(inode))) ?? null
}

export function socketInodes(pid: number): readonly string[] {
  try {
    const directory = `/proc/${pid}/fd`
    return readdirSync(directory).flatMap((fd) => {
      try {
        const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`${directory}/${fd}`))?.[1]
        return inode === undefined ? [] : [inode]
      } catch {
        return []
      }
    })
  } catch {
    return []
  }
}

function formatAddress(hex: string): string {
  const words = hex.match(/.{8}/g) ?? []
  const bytes = words.flatMap((word) => (word.match(/../g) ?? []).reverse().map((byte) => Number.parseInt(byte, 16)))
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.slice(0, 12).every((byte, index) => byte === (index >= 10 ? 255 : 0))) return bytes.slice(12).join('.')
  const groups: string[] = []
  for (let index = 0; index < 16; index += 2) groups.push((((bytes[index] ?? 0) << 8) | (bytes[index + 1] ?? 0)).toString(16))
  return groups.join(':').replace(/(^|:)0(:0)+(:|$)/, '::')
}
