import { createHash } from 'node:crypto'
import { access, constants, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { ownName } from './account.ts'
import type { Placement } from './placement.ts'

export const DATABASE_USER = 'shiplock'
export const DATABASE_NAME = 'shiplock'

/** Marks every process of this cluster in its title (`postgres: shiplock-1a2b3c4d: …`), so that leftovers can be told. */
export function clusterName({ cluster }: Placement): string {
  return `shiplock-${createHash('sha256').update(cluster).digest('hex').slice(0, 8)}`
}

/** Small, durable, reachable by its socket alone. Memory figures: see bench/database.ts. */
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '',
  port: '5432',
  unix_socket_permissions: '0700',
  max_connections: '60',
  // Durability, said rather than assumed.
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  wal_level: 'minimal',
  max_wal_senders: '0',
  min_wal_size: '32MB',
  max_wal_size: '128MB',
  // Memory. Huge pages are off because containers that offer them without a quota kill who takes them.
  shared_buffers: '24MB',
  work_mem: '4MB',
  maintenance_work_mem: '32MB',
  temp_file_limit: '1GB',
  huge_pages: 'off',
  jit: 'off',
  io_method: 'sync',
  max_worker_processes: '2',
  max_parallel_workers_per_gather: '0',
  max_parallel_maintenance_workers: '0',
  max_logical_replication_workers: '0',
  autovacuum_max_workers: '1',
  autovacuum_worker_slots: '2',
  timezone: 'UTC',
  log_timezone: 'UTC',
  lc_messages: 'C',
  log_line_prefix: '%m [%p] ',
  log_checkpoints: 'off',
}

const HEADER = '# Written by Shiplock at every start. Settings of your own go into local.conf beside this file, which is read last.\n'

/** The three files of settings, outside of the cluster; `config` is what the postmaster is started with. */
export function settingsFiles({ directory }: Placement): { config: string; hba: string; ident: string } {
  return { config: join(directory, 'postgresql.conf'), hba: join(directory, 'pg_hba.conf'), ident: join(directory, 'pg_ident.conf') }
}

/** Writes them where they differ from what is wanted. */
export async function writeSettings(placement: Placement, sockets: string): Promise<void> {
  const files = settingsFiles(placement)
  const all = {
    ...SETTINGS,
    cluster_name: clusterName(placement),
    hba_file: files.hba,
    ident_file: files.ident,
    unix_socket_directories: sockets,
    dynamic_shared_memory_type: await sharedMemoryType(),
  }
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${quote(value)}`)
  const { method, map } = authentication(placement)
  await writeChanged(files.config, `${HEADER}${lines.join('\n')}\ninclude_if_exists = 'local.conf'\n`)
  await writeChanged(files.hba, `# Written by Shiplock at every start.\nlocal all ${DATABASE_USER} ${method}\n`)
  await writeChanged(files.ident, `# Written by Shiplock at every start.\n${map}`)
}

function quote(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`
}

/**
 * The kernel tells PostgreSQL who connects (`peer`). Root may always, and the owner of the directory, unless that is `nobody` on root's
 * behalf: other programs run as `nobody` too. Who has no name can't be told by it: there the 0700 directory is the whole lock.
 */
function authentication({ account }: Placement): { method: string; map: string } {
  const self = ownName()
  if (self === null) return { method: 'trust', map: '' }
  const allowed = new Set(['root', self])
  if (account.name !== null && account.name !== 'nobody') allowed.add(account.name)
  const lines = [...allowed].map((systemUser) => `shiplock "${systemUser.replaceAll('"', '""')}" ${DATABASE_USER}\n`)
  return { method: 'peer map=shiplock', map: lines.join('') }
}

/** Some containers come without a usable /dev/shm. */
async function sharedMemoryType(): Promise<string> {
  if (process.platform !== 'linux') return 'posix'
  return access('/dev/shm', constants.W_OK).then(
    () => 'posix',
    () => 'mmap',
  )
}

/** Readable by all, because the account reads them; there is no secret in them. */
async function writeChanged(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => null)) !== text) await writeFileAtomic(path, text, 0o644)
}
