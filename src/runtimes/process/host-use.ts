import { readFileSync } from 'node:fs'
import type { Logger } from '../../core/log.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import type { RunRecord } from './instance-record.ts'
import { listenersOf, socketInodes } from './listening-ports.ts'

/** A port of this host's loopback that an instance is connected to, and that is none of its own. */
export interface HostUse {
  readonly title: string
  readonly port: number
}

const ESTABLISHED = '01'
/** 127.0.0.0/8 and ::ffff:127.0.0.0/8 as /proc/net/tcp and tcp6 have them. */
const LOOPBACK = /^([0-9A-F]{6}7F|0000000000000000FFFF0000[0-9A-F]{6}7F)$/

/** Of running instances in the host's network, as those of earlier versions are. */
export function hostUseOf(records: readonly (RunRecord | null)[], sandbox: Sandbox): readonly HostUse[] {
  return records.flatMap((record) =>
    record === null || record.address != null
      ? []
      : loopbackPortsInUse(sandbox.processes(record.id)).map((port) => ({ title: record.labels.title, port })),
  )
}

export function warnOfHostUse(uses: readonly HostUse[], logger: Logger): void {
  for (const { title, port } of uses) {
    const instead = `SHIPLOCK_HOST_ACCESS=${title.split('/')[0]}=${port}`
    logger.warn('a service uses a port of this host that is refused from its next start on, unless it is named', { title, port, instead })
  }
}

/** What an instance in the host's network would miss in one of its own: the ports of the loopback that it is connected to now. */
function loopbackPortsInUse(pids: readonly number[]): readonly number[] {
  const [first] = pids
  if (first === undefined) return []
  const inodes = new Set(pids.flatMap(socketInodes))
  const own = new Set(listenersOf(pids).map((listener) => listener.port))
  const tables = ['tcp', 'tcp6'].map((name) => read(`/proc/${first}/net/${name}`))
  return [...new Set(tables.flatMap((table) => connectedPorts(table, inodes, own)))].sort((one, other) => one - other)
}

/** Remote ports of connections to the loopback that these sockets began: one at a port of its `own` was begun by the edge, or by itself. */
export function connectedPorts(table: string, inodes: ReadonlySet<string>, own: ReadonlySet<number>): readonly number[] {
  return table
    .split('\n')
    .slice(1)
    .flatMap((line) => {
      const [, local = '', remote = '', state, , , , , , inode = ''] = line.trim().split(/\s+/)
      const [address = '', port = ''] = remote.split(':')
      if (state !== ESTABLISHED || !inodes.has(inode) || !LOOPBACK.test(address)) return []
      const [there, here] = [Number.parseInt(port, 16), Number.parseInt(local.split(':')[1] ?? '', 16)]
      return own.has(there) || own.has(here) ? [] : [there]
    })
}

function read(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}
