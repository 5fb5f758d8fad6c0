import { existsSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { DiskWriter } from '../../core/disk-writer.ts'
import { eachLimited } from '../../core/each-limited.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import type { Logger } from '../../core/log.ts'
import { removeTree } from '../../core/remove-tree.ts'
import type { InstanceId } from '../../domain/ids.ts'
import { InstanceLog } from '../process/instance-log.ts'
import { KeyedLock } from '../process/keyed-lock.ts'
import { LogWatch } from '../process/log-watch.ts'
import type {
  CommandOutcome,
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
} from '../runtime.ts'
import { awaitStarted } from './await-started.ts'
import { commandOf, portOf } from './container-command.ts'
import { containerWriters } from './container-disk.ts'
import { filters, LABEL, labelsOf } from './container-labels.ts'
import { ContainerLauncher, type LauncherOptions, type ReachSetting } from './container-launcher.ts'
import { ContainerLog } from './container-log.ts'
import { ContainerOnce } from './container-once.ts'
import { assertFence, markOverDisk, readRecord, recordOf, writeRecord } from './container-record.ts'
import { type ContainerFacts, isRunning, labelsIn, statusOf, statusWithout } from './container-state.ts'
import { ContainerTasks } from './container-tasks.ts'
import { diagnoseContainer } from './diagnose-container.ts'
import { execInside } from './exec-inside.ts'
import { ExitWatch } from './exit-watch.ts'
import { ownerOf } from './owner-of.ts'
import { reportTag } from './start-reports.ts'

export interface DockerRuntimeOptions {
  readonly engine: ContainerEngine
  /** Changed by one living server at a time, the one that has begun; what it holds outlives the server. */
  readonly stateDirectory: string
  readonly logger: Logger
  readonly reach?: ReachSetting
  readonly fetchImage?: LauncherOptions['fetchImage']
  /** null = no proxy reads labels. */
  readonly front?: LauncherOptions['front']
  readonly clock?: Clock
  /** What an instance may have on disk at most; null, the default = only the volume bounds it. */
  readonly instanceDiskMb?: number | null
}

const INSTANCE_ID = /^ins_[a-z0-9_]{1,100}$/
/** The engine's events tell at once; this is for what they could not tell. */
const EXIT_BACKSTOP_MS = 15_000
const AWAY_PAUSE_MS = 500
const START_POLL_MS = 20

/** Runs instances as containers of any engine with the Docker API, confined, in a network of their project's environment. */
export class DockerRuntime implements Runtime {
  readonly name = 'docker'
  /** The address is that of its own network, or a port that the engine holds for it. */
  readonly proveEndpoint = async () => ({ kind: 'own' }) as const
  readonly capabilities: RuntimeCapabilities = {
    artifacts: ['image', 'tree'],
    restartsStopped: true,
    memoryLimit: true,
    cpuLimit: true,
    regions: [],
  }
  readonly #engine: ContainerEngine
  readonly #clock: Clock
  readonly #instances: string
  readonly #locks = new KeyedLock()
  readonly #logs = new Map<string, { readonly log: ContainerLog; readonly watch: LogWatch }>()
  readonly #launcher: ContainerLauncher
  readonly #tasks: ContainerTasks
  readonly #exits: ExitWatch
  readonly #instanceDiskMb: number | null
  readonly #once: ContainerOnce
  #isBegun = false

  /** What an earlier server left is taken up: logs go on, addresses stay with their holders. Does not need the engine to be there. */
  static async open(options: DockerRuntimeOptions): Promise<DockerRuntime> {
    const runtime = await DockerRuntime.prepare(options)
    await runtime.begin()
    return runtime
  }

  /** Only looks and reads logs until `begin`: that is how a server stands by beside the one that works. */
  static async prepare(options: DockerRuntimeOptions): Promise<DockerRuntime> {
    await mkdir(join(options.stateDirectory, 'instances'), { recursive: true, mode: 0o711 })
    return new DockerRuntime(options, await ownerOf(options.stateDirectory))
  }

  private constructor(options: DockerRuntimeOptions, owner: string) {
    this.#engine = options.engine
    this.#clock = options.clock ?? systemClock
    this.#instances = join(options.stateDirectory, 'instances')
    this.#launcher = new ContainerLauncher({
      engine: options.engine,
      owner,
      clock: this.#clock,
      reach: options.reach ?? 'auto',
      fetchImage: options.fetchImage ?? null,
      front: options.front ?? null,
    })
    this.#tasks = new ContainerTasks(join(options.stateDirectory, 'tasks'), this.#launcher, this.#clock)
    this.#once = new ContainerOnce(join(options.stateDirectory, 'once'), this.#clock)
    this.#exits = new ExitWatch(options.engine, owner, this.#clock)
    this.#instanceDiskMb = options.instanceDiskMb ?? null
  }

  /** Lets go; containers go on. */
  async close(): Promise<void> {
    this.#exits.stop()
    await Promise.all([...this.#logs.keys()].map((id) => this.#unwatch(id)))
    await this.#tasks.close()
  }

  /** Whether it holds an instance or task of that id. */
  has(id: string): boolean {
    return existsSync(join(this.#instances, id)) || this.#tasks.has(id)
  }

  /** Value of the label by which everything of this runtime is found in its engine. */
  get owner(): string {
    return this.#launcher.owner
  }

  /** Removes networks of ours that no container belongs to; how many went. */
  pruneNetworks(): Promise<number> {
    return this.#launcher.networks.dropUnused()
  }

  async check(signal: AbortSignal): Promise<RuntimeHealth> {
    try {
      await this.#engine.json('GET', '/version', { signal, isRepeatable: false })
      const { name, api } = await this.#engine.version(signal)
      return { ok: true, summary: `${name} at ${this.#engine.address}, API ${api}` }
    } catch (error) {
      return { ok: false, summary: error instanceof Error ? error.message : String(error) }
    }
  }

  async start(spec: InstanceSpec, fence: number, signal: AbortSignal): Promise<InstanceStatus> {
    await this.#locked(spec.id, async (directory) => {
      const record = await readRecord(directory)
      assertFence(record, fence)
      const present = await this.#find(spec.id)
      if (present !== null && isRunning(present)) {
        await writeRecord(directory, { ...(record ?? recordOf(present, spec)), fence })
        return
      }
      await this.#launch(directory, spec, present, fence, signal)
    })
    return spec.initCommands.length === 0 ? this.inspect(spec.id) : this.#awaitStarted(spec, signal)
  }

  async inspect(id: InstanceId): Promise<InstanceStatus> {
    // Refuses what is no id before anything is asked.
    const directory = this.#directory(id)
    const [facts, record] = await Promise.all([this.#find(id), readRecord(directory)])
    return facts === null ? statusWithout(record) : statusOf(facts, record)
  }

  stop(id: InstanceId, options: { readonly timeoutMs: number }, fence: number): Promise<StopReport> {
    return this.#locked(id, async (directory) => {
      const record = await readRecord(directory)
      assertFence(record, fence)
      const facts = await this.#find(id)
      // Asked for only of what runs: one that crashed stays one that crashed.
      const stopAsked = facts !== null && isRunning(facts) ? true : record?.stopAsked
      if (record !== null) await writeRecord(directory, { ...record, stopAsked: stopAsked ?? false, fence })
      return this.#launcher.containers.stop(this.#name(id), options.timeoutMs)
    })
  }

  remove(id: InstanceId, fence: number): Promise<void> {
    return this.#locked(id, async (directory) => {
      const record = await readRecord(directory)
      assertFence(record, fence)
      if (record !== null) await writeRecord(directory, { ...record, fence })
      const facts = await this.#find(id)
      if (facts !== null) await this.#launcher.containers.remove(this.#name(id))
      await this.#unwatch(id)
      await removeTree(directory)
      const labels = record?.labels ?? (facts === null ? null : labelsOf(labelsIn(facts)))
      if (labels !== null) await this.#launcher.release('instance', id, labels)
      await this.#sweepOnce()
    })
  }

  async list(): Promise<readonly InstanceSummary[]> {
    const query = { all: true, filters: filters(`${LABEL.owner}=${this.#launcher.owner}`, `${LABEL.kind}=instance`) }
    const found = await this.#engine.json<readonly { Labels: Record<string, string> }[]>('GET', '/containers/json', { query })
    const labels = new Map(found.map(({ Labels }) => [(Labels[LABEL.id] ?? '') as InstanceId, labelsOf(Labels)]))
    // Without a container: it was removed by hand. Whoever asks can remove what is left by id.
    for (const id of await this.#ids()) {
      const record = labels.has(id) ? null : await readRecord(this.#directory(id))
      if (record !== null) labels.set(id, record.labels)
    }
    const all: InstanceSummary[] = []
    await eachLimited(
      [...labels].filter(([id]) => INSTANCE_ID.test(id)),
      LIST_AT_ONCE,
      async ([id, known]) => {
        all.push({ id, labels: known, status: await this.inspect(id) })
      },
    )
    return all
  }

  /** An engine that is away says nothing about its containers: waiting goes on. */
  async waitForExit(id: InstanceId, signal: AbortSignal): Promise<InstanceStatus> {
    for (;;) {
      try {
        const status = await this.inspect(id)
        if (status.state !== 'running') return status
        await this.#exits.signals.next(id, EXIT_BACKSTOP_MS, signal)
      } catch (error) {
        signal.throwIfAborted()
        if (!isShiplockError(error, 'ENGINE_UNREACHABLE')) throw error
        await this.#clock.sleep(AWAY_PAUSE_MS, signal)
      }
    }
  }

  async *logs(id: InstanceId, options: InstanceLogOptions): AsyncIterable<InstanceLogLine> {
    const directory = this.#directory(id)
    if ((await readRecord(directory)) === null) return
    const { log, watch } = await this.#watch(id)
    if (this.#isBegun && (!options.follow || options.tail !== null)) await this.#caughtUp(id, log)
    yield* new InstanceLog(log.file).lines(options, {
      isRunning: () => !log.isDrained,
      isOver: () => !existsSync(directory),
      changed: (seen, signal) => watch.changed(seen, signal),
    })
  }

  async exec(
    id: InstanceId,
    command: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<CommandOutcome> {
    const facts = await this.#find(id)
    if (facts === null || !isRunning(facts)) throw new ShiplockError('CONFLICT', `instance ${id} is not running`)
    return execInside(this.#engine, facts.Id, command, options)
  }

  async diagnose(id: InstanceId): Promise<readonly string[]> {
    const facts = await this.#find(id)
    return facts === null || !isRunning(facts) ? [] : diagnoseContainer(this.#engine, facts)
  }

  runTask(spec: TaskSpec, onLine: (line: string) => void, fence: number, signal: AbortSignal, letGo?: AbortSignal): Promise<TaskResult> {
    return this.#tasks.run(spec, onLine, fence, { signal, letGo: letGo ?? new AbortController().signal })
  }

  removeTask(id: string, fence: number): Promise<void> {
    return this.#tasks.remove(id, fence)
  }

  diskWriters(): Promise<readonly DiskWriter[]> {
    const end = (id: string, reason: string) => this.#endOverDisk(id as InstanceId, reason)
    return containerWriters({ engine: this.#engine, owner: this.owner, instances: this.#instances, mostMb: this.#instanceDiskMb, end })
  }

  #endOverDisk(id: InstanceId, reason: string): Promise<void> {
    return this.#locked(id, async (directory) => {
      await markOverDisk(directory, reason)
      await this.#launcher.containers.stop(this.#name(id), 0)
      await this.#caughtUp(id, (await this.#watch(id)).log)
      await this.#launcher.containers.remove(this.#name(id))
      this.#exits.signals.emit(id)
    })
  }

  async begin(): Promise<void> {
    this.#isBegun = true
    for (const { log } of this.#logs.values()) {
      await log.open()
      log.follow()
    }
    for (const id of await this.#ids()) {
      const record = await readRecord(this.#directory(id))
      if (record === null) continue
      this.#launcher.remember('instance', record)
      await this.#watch(id)
    }
    await this.#sweepOnce()
    await this.#tasks.open()
    this.#exits.start()
  }

  async #launch(directory: string, spec: InstanceSpec, present: ContainerFacts | null, fence: number, signal: AbortSignal): Promise<void> {
    const image = await this.#launcher.image(spec, signal)
    if (spec.staticRoot !== null)
      throw new ShiplockError('LAUNCH_FAILED', 'run.staticRoot is not served in containers yet', {
        hint: 'Serve the files in the image, or use SHIPLOCK_RUNTIME=auto.',
      })
    const command = commandOf(image, spec, reportTag(this.#name(spec.id)))
    const port = portOf(spec.port, image)
    await mkdir(directory, { recursive: true, mode: 0o711 })
    // What an earlier container of this instance said is taken over before it may be replaced.
    const { log } = await this.#watch(spec.id)
    if (present !== null) await this.#caughtUp(spec.id, log)
    await log.reports.clear()
    const { id, labels, cpu, memoryMb, diskMb, ociRuntime } = spec
    const once = this.#engine.isLocal ? await this.#once.lay(image, spec) : { env: {}, mounts: [] }
    const env = { ...spec.env, ...once.env, PORT: String(port), SHIPLOCK_INSTANCE: id }
    await this.#launcher.launch({
      kind: 'instance',
      id,
      directory,
      labels,
      image,
      command,
      tree: spec.artifactDirectory,
      env,
      mounts: once.mounts,
      port,
      host: spec.host ?? null,
      cpu,
      memoryMb,
      diskMb: diskMb ?? null,
      ociRuntime,
      fence,
      present,
      signal,
    })
    log.follow()
  }

  async #sweepOnce(): Promise<void> {
    const records = await Promise.all((await this.#ids()).map((id) => readRecord(this.#directory(id))))
    await this.#once.sweep(new Set(records.flatMap((record) => record?.labels.deploymentId ?? [])))
  }

  async #awaitStarted(spec: InstanceSpec, signal: AbortSignal): Promise<InstanceStatus> {
    const { log } = await this.#watch(spec.id)
    const pause = () => this.#exits.signals.next(spec.id, START_POLL_MS, signal)
    return awaitStarted(log, { inspect: () => this.inspect(spec.id), pause, signal })
  }

  /** Waits, within a bound, until what an ended container said is in its log. */
  async #caughtUp(id: InstanceId, log: ContainerLog): Promise<void> {
    const facts = await this.#find(id).catch((error: unknown) => {
      if (isRefusal(error) || isShiplockError(error, 'ENGINE_UNREACHABLE')) return null
      throw error
    })
    if (facts !== null && !isRunning(facts)) await log.settle()
  }

  async #watch(id: InstanceId): Promise<{ readonly log: ContainerLog; readonly watch: LogWatch }> {
    const known = this.#logs.get(id)
    if (known !== undefined) return known
    const log = new ContainerLog(this.#engine, this.#name(id), join(this.#directory(id), 'log'), this.#clock)
    const entry = { log, watch: new LogWatch(new InstanceLog(log.file), this.#clock, () => this.#isBegun) }
    this.#logs.set(id, entry)
    if (this.#isBegun) await log.open()
    entry.watch.start()
    if (this.#isBegun) log.follow()
    return entry
  }

  async #unwatch(id: string): Promise<void> {
    const known = this.#logs.get(id)
    this.#logs.delete(id)
    known?.watch.stop()
    await known?.log.stop()
  }

  #find(id: InstanceId): Promise<ContainerFacts | null> {
    return this.#launcher.containers.find(this.#name(id))
  }

  #name(id: InstanceId): string {
    return this.#launcher.nameOf('instance', id)
  }

  #directory(id: InstanceId): string {
    if (!INSTANCE_ID.test(id)) throw new ShiplockError('INTERNAL', `${JSON.stringify(id)} is no instance id`)
    return join(this.#instances, id)
  }

  async #locked<Result>(id: InstanceId, action: (directory: string) => Promise<Result>): Promise<Result> {
    return this.#locks.run(id, () => action(this.#directory(id)))
  }

  async #ids(): Promise<readonly InstanceId[]> {
    const names = await readdir(this.#instances).catch(() => [])
    return names.filter((name) => INSTANCE_ID.test(name)) as InstanceId[]
  }
}
const LIST_AT_ONCE = 8
