import { existsSync } from 'node:fs'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { removeTree } from '../../core/remove-tree.ts'
import type { ProjectId } from '../../domain/ids.ts'
import type { Sandbox, SandboxSpec } from '../../sandbox/sandbox.ts'
import type { RuntimeSupport } from '../runtime.ts'
import { copyTree } from './own-copy.ts'

/** What the support of a run means for its sandbox. */
export interface LaidSupport {
  readonly mounts: SandboxSpec['mounts']
  readonly searchFirst: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

/**
 * Gives the run its own writable copy of the runtime layer at `<directory>/home`, once, as `ownCopy` does for the artifact. Where commands
 * see the paths of the host, the layer itself is the home, not to be written: what was prepared names its own place by path.
 */
export async function laySupport(
  sandbox: Sandbox,
  directory: string,
  about: { readonly support?: RuntimeSupport; readonly projectId: ProjectId },
  signal: AbortSignal,
): Promise<LaidSupport> {
  const { layer = null, toolDirectories = [] } = about.support ?? {}
  const tools = toolDirectories
    .filter((path) => !/^\/(usr|opt|bin)\//.test(path))
    .map((path) => ({ source: join(path, '..'), target: join(path, '..'), writable: false }))
  if (layer === null) return { mounts: tools, searchFirst: toolDirectories, env: {} }
  if (!sandbox.description.filesystem) return { mounts: [], ...homeOf(layer.directory, toolDirectories) }
  const copy = join(directory, 'home')
  if (!existsSync(copy)) {
    const partial = `${copy}.partial`
    await removeTree(partial)
    await copyTree(layer.directory, partial, signal)
    await sandbox.own(partial, about.projectId)
    await rename(partial, copy)
  }
  return { mounts: [...tools, { source: copy, target: layer.home, writable: true }], ...homeOf(layer.home, toolDirectories) }
}

/** The same for a command beside a run that was launched with that environment. */
export function supportBeside(directory: string, env: Readonly<Record<string, string>>): LaidSupport {
  const copy = join(directory, 'home')
  const home = env.HOME
  if (home === undefined || !existsSync(copy)) return { mounts: [], searchFirst: [], env: {} }
  return { mounts: [{ source: copy, target: home, writable: true }], ...homeOf(home, []) }
}

function homeOf(home: string, toolDirectories: readonly string[]): Pick<LaidSupport, 'searchFirst' | 'env'> {
  return { searchFirst: [join(home, '.local/bin'), ...toolDirectories], env: { HOME: home } }
}
