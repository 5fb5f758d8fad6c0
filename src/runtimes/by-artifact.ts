import type { DiskWriter } from '../core/disk-writer.ts'
import { isShiplockError } from '../core/errors.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { InstanceId } from '../domain/ids.ts'
import type {
  CommandOutcome,
  EndpointProof,
  InstanceLogLine,
  InstanceLogOptions,
  InstanceSpec,
  InstanceStatus,
  InstanceSummary,
  Runtime,
  RuntimeCapabilities,
  RuntimeHealth,
  StopReport,
  TaskResult,
  TaskSpec,
} from './runtime.ts'

/** A runtime that knows its own without asking anybody. */
export interface KeepingRuntime extends Runtime {
  /** Whether it holds an instance or task of that id. */
  has(id: string): boolean
}

export interface ByArtifactOptions {
  readonly trees: KeepingRuntime
  readonly images: KeepingRuntime
  /** Whether the engine of `images` answers now. Without it images are not offered to configurations, so that detection passes Dockerfiles over. */
  readonly isReachable: () => boolean
  /** Start file trees on `images`, too, but for static sites; what already runs as a process goes on as one. Default false. */
  readonly prefersImages?: boolean
}

/** File trees on one runtime, images on another. What an id belongs to is decided at its start; later calls go to who holds it. */
export class ByArtifactRuntime implements Runtime {
  readonly name = 'auto'
  readonly #trees: KeepingRuntime
  readonly #images: KeepingRuntime
  readonly #isReachable: () => boolean
  readonly #prefersImages: boolean

  constructor(options: ByArtifactOptions) {
    this.#trees = options.trees
    this.#images = options.images
    this.#isReachable = options.isReachable
    this.#prefersImages = options.prefersImages ?? false
  }

  get capabilities(): RuntimeCapabilities {
    const trees = this.#trees.capabilities
    if (this.#prefersImages) return this.#images.capabilities
    if (!this.#isReachable()) return trees
    const images = this.#images.capabilities
    return {
      artifacts: [...new Set([...trees.artifacts, ...images.artifacts])],
      restartsStopped: trees.restartsStopped && images.restartsStopped,
      memoryLimit: trees.memoryLimit && images.memoryLimit,
      cpuLimit: trees.cpuLimit && images.cpuLimit,
      regions: [],
    }
  }

  async check(signal: AbortSignal): Promise<RuntimeHealth> {
    if (this.#prefersImages) return this.#images.check(signal)
    const trees = await this.#trees.check(signal)
    const images = this.#isReachable() ? await this.#images.check(signal) : null
    return { ok: trees.ok, summary: images?.ok ? `${trees.summary}; images on ${images.summary}` : trees.summary }
  }

  start(spec: InstanceSpec, fence: number, signal: AbortSignal): Promise<InstanceStatus> {
    // Files that a web server of ours hands out need no container.
    const isSite = spec.staticRoot !== null && !this.#images.has(spec.id)
    return (isSite ? this.#trees : this.#holder(spec.id, spec.artifact)).start(spec, fence, signal)
  }

  inspect(id: InstanceId): Promise<InstanceStatus> {
    return this.#holder(id).inspect(id)
  }

  async stop(id: InstanceId, options: { readonly timeoutMs: number }, fence: number): Promise<StopReport> {
    const [first, second] = this.#both(id)
    const report = await first.stop(id, options, fence)
    if (second === null) return report
    const other = await second.stop(id, options, fence)
    return { killed: report.killed || other.killed, tookMs: report.tookMs + other.tookMs }
  }

  async remove(id: InstanceId, fence: number): Promise<void> {
    const [first, second] = this.#both(id)
    await first.remove(id, fence)
    await second?.remove(id, fence)
  }

  /** An engine that is away has no say: its instances are left out, which nobody may take for their absence. */
  async list(): Promise<readonly InstanceSummary[]> {
    const [trees, images] = await Promise.all([
      this.#trees.list(),
      this.#images.list().catch((error: unknown) => {
        if (isShiplockError(error, 'ENGINE_UNREACHABLE')) return []
        throw error
      }),
    ])
    return [...trees, ...images]
  }

  waitForExit(id: InstanceId, signal: AbortSignal): Promise<InstanceStatus> {
    return this.#holder(id).waitForExit(id, signal)
  }

  logs(id: InstanceId, options: InstanceLogOptions): AsyncIterable<InstanceLogLine> {
    return this.#holder(id).logs(id, options)
  }

  exec(id: InstanceId, command: string, options: { readonly timeoutMs: number; readonly signal: AbortSignal }): Promise<CommandOutcome> {
    return this.#holder(id).exec(id, command, options)
  }

  diagnose(id: InstanceId): Promise<readonly string[]> {
    return this.#holder(id).diagnose(id)
  }

  proveEndpoint(id: InstanceId): Promise<EndpointProof> {
    return this.#holder(id).proveEndpoint(id)
  }

  runTask(spec: TaskSpec, onLine: (line: string) => void, fence: number, signal: AbortSignal, letGo?: AbortSignal): Promise<TaskResult> {
    return this.#holder(spec.id, spec.artifact).runTask(spec, onLine, fence, signal, letGo)
  }

  async removeTask(id: string, fence: number): Promise<void> {
    const [first, second] = this.#both(id)
    await first.removeTask(id, fence)
    await second?.removeTask(id, fence)
  }

  async diskWriters(): Promise<readonly DiskWriter[]> {
    const images = this.#isReachable() ? await this.#images.diskWriters?.() : []
    return [...((await this.#trees.diskWriters?.()) ?? []), ...(images ?? [])]
  }

  /** Who has it keeps it, whatever the settings say by now. */
  #holder(id: string, artifact?: Artifact): KeepingRuntime {
    if (this.#images.has(id)) return this.#images
    if (this.#trees.has(id)) return this.#trees
    if (artifact === undefined) return this.#trees
    return this.#prefersImages || !this.#trees.capabilities.artifacts.includes(artifact.kind) ? this.#images : this.#trees
  }

  /** What nobody knows may still be real: a record was lost. Whoever can be asked is. */
  #both(id: string): readonly [KeepingRuntime, KeepingRuntime | null] {
    if (this.#images.has(id)) return [this.#images, null]
    return this.#trees.has(id) || !this.#isReachable() ? [this.#trees, null] : [this.#trees, this.#images]
  }
}
