import { ShiplockError } from '../core/errors.ts'
import { runCommand } from '../core/exec.ts'
import { parseHostKeyLine, splitHost } from '../core/known-hosts.ts'
import { LIMITS } from '../core/limits.ts'

/**
 * The keys that an ssh host shows now, as lines of a known_hosts file. Whoever sits between it and us could show others: a person
 * compares them with what the host publishes before they are pinned. Throws SOURCE_UNREACHABLE.
 */
export async function readHostKeys(host: string, searchPath: string, signal: AbortSignal): Promise<string[]> {
  const { name, port } = splitHost(host)
  const seconds = String(LIMITS.hostKeyScanMs / 1000)
  const args = ['-T', seconds, ...(port === null ? [] : ['-p', port]), '-t', 'ed25519,ecdsa,rsa', '--', name]
  const result = await runCommand('ssh-keyscan', args, {
    env: { PATH: searchPath, LC_ALL: 'C' },
    signal,
    timeoutMs: LIMITS.hostKeyScanMs * 2,
  })
  const lines = result.stdout.split('\n').flatMap((line) => parseHostKeyLine(line)?.line ?? [])
  if (lines.length === 0) {
    throw new ShiplockError('SOURCE_UNREACHABLE', `${host} shows no ssh host keys`, {
      hint: 'Check the name and the port, and that this server may reach it.',
      details: { host },
    })
  }
  return lines
}
