import { existsSync } from 'node:fs'
import { open, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { runCommand } from '../../core/exec.ts'
import { removeTree } from '../../core/remove-tree.ts'
import type { Artifact } from '../../domain/deployment.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { type Labels, tenantOf } from '../runtime.ts'

/** What both instances and tasks say about what they run. */
interface TreeSpec {
  readonly labels: Labels
  readonly artifact: Artifact
  readonly artifactDirectory: string | null
}

/**
 * Gives the run its own writable copy of the artifact at `<directory>/root`, once: a restart finds what the app wrote.
 * Blocks are shared with the artifact where the file system can (btrfs, XFS); never hard links, since the app may write in place.
 */
export async function ownCopy(sandbox: Sandbox, directory: string, spec: TreeSpec, signal: AbortSignal): Promise<void> {
  if (spec.artifact.kind !== 'tree' || spec.artifactDirectory === null) {
    throw new ShiplockError('RUNTIME_UNAVAILABLE', 'the process runtime runs file trees, not images', {
      hint: 'Build from source, or use the docker runtime for images.',
    })
  }
  const root = join(directory, 'root')
  const log = join(directory, 'log')
  const tenant = tenantOf(spec.labels)
  if (existsSync(root)) {
    // Launched before by another user: the project's, while environments were not told apart.
    await sandbox.own(root, tenant, { unlessOwned: true })
    if (existsSync(log)) await sandbox.own(log, tenant)
    return
  }
  const partial = `${root}.partial`
  await removeTree(partial)
  await copyTree(spec.artifactDirectory, partial, signal)
  // The log too: apps open /dev/stdout, which is this file, once more.
  await (await open(log, 'a', 0o600)).close()
  await Promise.all([sandbox.own(partial, tenant), sandbox.own(log, tenant)])
  await rename(partial, root)
}

/** With links, modes and times, sharing blocks where the file system can. */
export async function copyTree(from: string, to: string, signal: AbortSignal): Promise<void> {
  for (const options of [['-a', '--reflink=auto'], ['-a']]) {
    const result = await runCommand('/bin/cp', [...options, '--', from, to], { env: { LC_ALL: 'C' }, signal })
    if (result.exitCode === 0) return
    signal.throwIfAborted()
    const said = result.stderrTail.join(' ')
    // busybox has no --reflink.
    if (options.length === 2 && /unrecognized option|invalid option/.test(said)) continue
    const isFull = said.includes('No space left on device')
    throw new ShiplockError(isFull ? 'DISK_FULL' : 'INTERNAL', `the artifact can't be copied for the instance: ${said}`)
  }
}
