import { existsSync, realpathSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { runCommand } from '../../core/exec.ts'

/** `buildx`: the plugin. `buildkit`: a client before 23, which speaks to the engine's BuildKit itself. `classic`: the builder from before. */
export type BuildMode = 'buildx' | 'buildkit' | 'classic'

export interface DockerClient {
  readonly file: string
  readonly version: string
  readonly mode: BuildMode
  /** For the log, one sentence: what builds, and why it is no better. */
  readonly summary: string
}

export interface FindOptions {
  /** Directories, `:` between them. */
  readonly searchPath: string
  readonly env: Readonly<Record<string, string>>
  readonly signal: AbortSignal
}

const USUAL = ['/usr/bin', '/usr/local/bin', '/opt/homebrew/bin']
const RANK: Readonly<Record<BuildMode, number>> = { buildx: 0, buildkit: 1, classic: 2 }
const ASK_MS = 20_000
/** From here on clients have BuildKit in the plugin only. */
const PLUGIN_ONLY_SINCE = 23

/** The best client on this host that this engine understands; null = there is none. */
export async function findDockerClient(engine: ContainerEngine, options: FindOptions): Promise<DockerClient | null> {
  const hasBuildKit = await engineHasBuildKit(engine, options.signal)
  const clients: DockerClient[] = []
  for (const file of candidates(options.searchPath)) {
    const client = await ask(file, hasBuildKit, options)
    if (client !== null) clients.push(client)
  }
  return clients.sort((a, b) => RANK[a.mode] - RANK[b.mode])[0] ?? null
}

function candidates(searchPath: string): readonly string[] {
  const files = [...searchPath.split(delimiter), ...USUAL].filter((path) => path !== '').map((path) => join(path, 'docker'))
  return [...new Map(files.filter((file) => existsSync(file)).map((file) => [realpathSync(file), file])).values()]
}

async function ask(file: string, hasBuildKit: boolean, { env, signal }: FindOptions): Promise<DockerClient | null> {
  const run = (args: readonly string[]) => runCommand(file, args, { env, signal, timeoutMs: ASK_MS }).catch(() => null)
  // Fails as well when client and engine have no version of the API in common.
  const versions = await run(['version', '--format', '{{.Client.Version}} {{.Server.Version}}'])
  signal.throwIfAborted()
  if (versions?.exitCode !== 0) return null
  const [version = ''] = versions.stdout.trim().split(' ')
  const about = `docker ${version}`
  if (!hasBuildKit) return { file, version, mode: 'classic', summary: `classic builder (${about}): this engine has no BuildKit` }
  const plugin = await run(['buildx', 'version'])
  signal.throwIfAborted()
  if (plugin?.exitCode === 0) return { file, version, mode: 'buildx', summary: `BuildKit (${about} with buildx)` }
  if (Number.parseInt(version, 10) < PLUGIN_ONLY_SINCE) return { file, version, mode: 'buildkit', summary: `BuildKit (${about})` }
  const summary = `classic builder (${about}): there is no buildx plugin, so no build secrets, no parallel stages, no cache mounts`
  return { file, version, mode: 'classic', summary }
}

/**
 * BuildKit keeps the cache mounts of projects apart in Docker 20.10 (API 1.41) and later: what is older is built by the classic builder,
 * which has none. Not on Windows; Podman's socket takes the classic protocol only.
 */
async function engineHasBuildKit(engine: ContainerEngine, signal: AbortSignal): Promise<boolean> {
  const { name, api, os } = await engine.version(signal)
  return !/podman/i.test(name) && os === 'linux' && Number(api.split('.')[1]) >= 41
}
