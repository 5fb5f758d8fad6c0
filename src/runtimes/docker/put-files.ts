import { posix } from 'node:path'
import { pack } from 'tar-stream'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { packTree } from '../../core/pack-tree.ts'
import { walkTree } from '../../core/walk-tree.ts'

/** Where a file tree stands in a container, as on every other runtime. */
export const TREE_MOUNT = '/var/www'

/**
 * Lays a tree into a container that was not started yet, as a copy of its own: works with engines on other hosts, and what the app writes
 * stays with the container. Doing it twice gives the same.
 */
export async function putTree(engine: ContainerEngine, container: string, directory: string, signal: AbortSignal): Promise<void> {
  const path = `/containers/${container}/archive`
  const parents = pack()
  for (const name of ['var/', 'var/www/']) parents.entry({ name, type: 'directory', mode: 0o755 })
  parents.finalize()
  const head: Buffer[] = []
  for await (const chunk of parents) head.push(chunk as Buffer)
  await engine.json('PUT', path, { query: { path: '/' }, body: Buffer.concat(head), signal })
  const body = packTree(directory, await walkTree(directory))
  await engine.json('PUT', path, { query: { path: posix.join(TREE_MOUNT, '/') }, body, signal, timeoutMs: null, isRepeatable: false })
}
