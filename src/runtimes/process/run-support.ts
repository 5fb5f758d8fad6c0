import { existsSync } from 'node:fs'
import { readFile, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { removeTree } from '../../core/remove-tree.ts'
import type { Tenant } from '../../domain/tenant.ts'
import type { Sandbox, SandboxSpec } from '../../sandbox/sandbox.ts'
import type { RuntimeSupport } from '../runtime.ts'
import { copyTree } from './own-copy.ts'

/** What the support of a run means for its sandbox. */
export interface LaidSupport {
  readonly mounts: SandboxSpec['mounts']
  readonly searchFirst: readonly string[]
  readonly env: Readonly<Record<string, string>>
}

const NOTHING: LaidSupport = { mounts: [], searchFirst: [], env: {} }
/** Kept beside the run, for commands that run beside it later. */
const FILE = 'support.json'

/**
 * Gives the run its own writable copy of the runtime layer at `<directory>/home`, once, as `ownCopy` does for the artifact. Where commands
 * see the paths of the host, the layer itself is the home, not to be written: what was prepared names its own place by path.
 */
export async function laySupport(
  sandbox: Sandbox,
  directory: string,
  about: { readonly support?: RuntimeSupport; readonly tenant: Tenant },
  signal: AbortSignal,
): Promise<LaidSupport> {
  const laid = await lay(sandbox, directory, about, signal)
  const file = join(directory, FILE)
  if (laid === NOTHING) await rm(file, { force: true })
  else await writeFileAtomic(file, JSON.stringify(laid))
  return laid
}

async function lay(
  sandbox: Sandbox,
  directory: string,
  { support, tenant }: { readonly support?: RuntimeSupport; readonly tenant: Tenant },
  signal: AbortSignal,
): Promise<LaidSupport> {
  if (support === undefined) return NOTHING
  const { layer, toolDirectories } = support
  const tools = toolDirectories
    .filter((path) => !/^\/(usr|opt|bin)\//.test(path))
    .map((path) => ({ source: join(path, '..'), target: join(path, '..'), writable: false }))
  if (layer === null) return { mounts: tools, searchFirst: toolDirectories, env: {} }
  if (!sandbox.description.filesystem) return { mounts: [], ...homeOf(layer.directory, toolDirectories) }
  const copy = join(directory, 'home')
  if (existsSync(copy)) {
    await sandbox.own(copy, tenant, { unlessOwned: true })
  } else {
    const partial = `${copy}.partial`
    await removeTree(partial)
    await copyTree(layer.directory, partial, signal)
    await sandbox.own(partial, tenant)
    await rename(partial, copy)
  }
  return { mounts: [...tools, { source: copy, target: layer.home, writable: true }], ...homeOf(layer.home, toolDirectories) }
}

/** The same for a command beside a run, launched by this server or an earlier one. */
export async function supportBeside(directory: string): Promise<LaidSupport> {
  const text = await readFile(join(directory, FILE), 'utf8').catch(() => null)
  return text === null ? NOTHING : (JSON.parse(text) as LaidSupport)
}

function homeOf(home: string, toolDirectories: readonly string[]): Pick<LaidSupport, 'searchFirst' | 'env'> {
  return { searchFirst: [join(home, '.local/bin'), ...toolDirectories], env: { HOME: home } }
}
