import { ShiplockError } from '../core/errors.ts'
import type { ForeignPrograms } from '../core/foreign-programs.ts'
import type { HostGuard } from '../core/host-guard.ts'
import { parseHostKeyLine, splitHost } from '../core/known-hosts.ts'
import { LIMITS } from '../core/limits.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { freshRoom } from './git-room.ts'

export interface HostKeyReader {
  readonly programs: ForeignPrograms
  readonly hosts: HostGuard
  readonly searchPath: string
  readonly memory: MemoryDirectory
}

/**
 * The keys that an ssh host shows now, as lines of a known_hosts file. Whoever sits between it and us could show others: a person
 * compares them with what the host publishes before they are pinned. Throws SOURCE_UNREACHABLE, SOURCE_REFUSED.
 */
export async function readHostKeys(
  { programs, hosts, searchPath, memory }: HostKeyReader,
  host: string,
  signal: AbortSignal,
): Promise<string[]> {
  const { name, port } = splitHost(host)
  const [address = name] = await hosts.resolve(name, signal)
  const place = await freshRoom(memory)
  const room = await programs.open({
    purpose: 'keyscan',
    projectId: null,
    directory: place.path,
    mounts: [],
    memoryMb: LIMITS.keyscanMemoryMb,
  })
  try {
    const seconds = String(LIMITS.hostKeyScanMs / 1000)
    const args = ['-T', seconds, ...(port === null ? [] : ['-p', port]), '-t', 'ed25519,ecdsa,rsa', '--', address]
    const env = { PATH: searchPath, LC_ALL: 'C' }
    const result = await room.run(['ssh-keyscan', ...args], { env, signal, timeoutMs: LIMITS.hostKeyScanMs * 2 })
    if (result.aborted) throw signal.reason
    // The address was asked; the name is what is pinned.
    const pattern = port === null ? name : `[${name}]:${port}`
    const lines = result.stdout.split('\n').flatMap((line) => parseHostKeyLine(line.replace(/^\S+/, pattern))?.line ?? [])
    if (lines.length > 0) return lines
  } finally {
    await room.close()
    await place.remove()
  }
  throw new ShiplockError('SOURCE_UNREACHABLE', `${host} shows no ssh host keys`, {
    hint: 'Check the name and the port, and that this server may reach it.',
    details: { host },
  })
}
