import { existsSync } from 'node:fs'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { type Clock, systemClock } from '../../core/clock.ts'
import type { DiskWriter } from '../../core/disk-writer.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { Logger } from '../../core/log.ts'
import type { MemoryDirectory } from '../../core/memory-directory.ts'
import { identify } from '../../core/process-identity.ts'
import { removeTree } from '../../core/remove-tree.ts'
import type { InstanceId } from '../../domain/ids.ts'
import type { Sandbox, SandboxNetworks } from '../../sandbox/sandbox.ts'
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
} from '../runtime.ts'
import { tenantOf } from '../runtime.ts'
import { diagnoseListeners } from './diagnose-listeners.ts'
import { execBeside } from './exec-beside.ts'
import { ExitSignals } from './exit-signals.ts'
import { type HostUse, hostUseOf, warnOfHostUse } from './host-use.ts'
import { InstanceLog } from './instance-log.ts'
import { newRecord, type RunRecord, readRecord, writeRecord } from './instance-record.ts'
import { KeptEnvironments } from './kept-environments.ts'
import { KeyedLock } from './keyed-lock.ts'
import { runScript } from './launch-scripts.ts'
import { assertFence, Launcher, type RunState } from './launcher.ts'
import { LogWatch } from './log-watch.ts'
import { Once } from './once.ts'
import { orphanLabels, titleOf } from './orphan-labels.ts'
import { ownCopy } from './own-copy.ts'
import { PortBook } from './ports.ts'
import { proveEndpoint } from './prove-endpoint.ts'
import { RunDirectory } from './run-directory.ts'
import { runWriters } from './run-disk.ts'
import { laySupport } from './run-support.ts'
import { StaticSite } from './static-site.ts'
import { Tasks } from './tasks.ts'
import { VitalSigns } from './vital-signs.ts'

export interface ProcessRuntimeOptions {
  /** Changed by one living server at a time, the one that opened the runtime; what it holds outlives the server. */
  readonly stateDirectory: string
  readonly sandbox: Sandbox
  /** Left out = everything runs in the host's network. */
  readonly networks?: SandboxNetworks
  readonly logger: Logger
  /** For variables of what runs. */
  readonly memory: MemoryDirectory
  readonly clock?: Clock
  /** What an instance may have on disk at most, whatever its configuration says; null, the default = only the volume bounds it. */
  readonly instanceDiskMb?: number | null
  /** Compiled static-server/main.js; default = the one of this build. */
  readonly staticServerFile?: string
}

const HOST = '127.0.0.1'
/** Of instances with a network of their own that name none: that of containers. */
const OWN_PORT = 8080
const INSTANCE_ID = /^ins_[a-z0-9_]{1,100}$/
/** The kernel tells at once; this is for what it could not tell. */
const EXIT_BACKSTOP_MS = 20_000

/**
 * Runs instances as processes of this host, each in a sandbox under a supervisor of its own that outlives the server. Before `open` it
 * only looks and reads logs: that is how a server stands by beside the one that works.
 */
export class ProcessRuntime implements Runtime {
  readonly name = 'process'
  readonly capabilities: RuntimeCapabilities
  readonly #options: ProcessRuntimeOptions
  readonly #clock: Clock
  readonly #instances: string
  readonly #ports: PortBook
  readonly #environments: KeptEnvironments
  readonly #launcher: Launcher
  readonly #tasks: Tasks
  readonly #static: StaticSite
  readonly #once: Once
  readonly #locks = new KeyedLock()
  readonly #watches = new Map<string, LogWatch>()
  readonly #exits = new ExitSignals()
  readonly #vitals = new VitalSigns()
  #isOpen = false

  constructor(options: ProcessRuntimeOptions) {
    const { memory, cpu } = options.sandbox.description
    this.capabilities = { artifacts: ['tree'], restartsStopped: true, memoryLimit: memory, cpuLimit: cpu, regions: [] }
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#instances = join(options.stateDirectory, 'instances')
    this.#ports = new PortBook(join(options.stateDirectory, 'ports'))
    this.#environments = new KeptEnvironments(options.memory)
    this.#launcher = new Launcher(
      { sandbox: options.sandbox, networks: options.networks ?? null },
      this.#environments,
      this.#clock,
      (name) => this.#ended(name),
    )
    this.#tasks = new Tasks(join(options.stateDirectory, 'tasks'), this.#launcher, this.#clock, options.instanceDiskMb ?? null)
    this.#once = new Once(join(options.stateDirectory, 'once'), this.#clock)
    this.#static = new StaticSite(join(options.stateDirectory, 'static-server'), options.staticServerFile ?? null)
  }

  /** Takes up what earlier servers left: watches logs of what runs, ends commands that ran beside instances, frees ports without owner. */
  async open(): Promise<void> {
    await mkdir(this.#instances, { recursive: true, mode: 0o711 })
    this.#isOpen = true
    await this.#ports.sweep((id) => existsSync(join(this.#instances, id)))
    for (const name of await this.#options.sandbox.list()) {
      if (!name.startsWith('exec-')) continue
      await this.#options.sandbox.kill(name)
      await this.#options.sandbox.remove(name)
    }
    await this.#adoptEnvironments()
    for (const id of await this.#ids()) this.#watch(id)
    await this.#options.networks?.open((name) => this.has(name.replace(/^task-/, '')))
    warnOfHostUse(await this.hostUse(), this.#options.logger)
    await this.#sweepOnce()
  }

  /** Lets go; instances go on. */
  async close(): Promise<void> {
    this.#isOpen = false
    for (const watch of this.#watches.values()) watch.stop()
    this.#watches.clear()
    this.#tasks.close()
    await this.#options.networks?.close()
  }

  /** Whether it holds an instance or task of that id. */
  has(id: string): boolean {
    return existsSync(join(this.#instances, id)) || existsSync(join(this.#options.stateDirectory, 'tasks', id))
  }

  async check(_signal: AbortSignal): Promise<RuntimeHealth> {
    return { ok: true, summary: this.#options.sandbox.description.summary }
  }

  async start(spec: InstanceSpec, fence: number, signal: AbortSignal): Promise<InstanceStatus> {
    const record = await this.#locked(spec.id, async (directory) => {
      const found = await readRecord(directory)
      assertFence(found, fence)
      if (found !== null && !this.#launcher.cancelUnclaimed(directory, found)) {
        const state = await this.#launcher.settle(directory, spec.id)
        if (state.kind === 'running') {
          const adopted = { ...state.record, fence }
          await writeRecord(directory, adopted)
          return adopted
        }
      }
      return this.#launch(directory, spec, found, fence, signal)
    })
    this.#watch(spec.id)
    await this.#launcher.awaitStarted(this.#directory(spec.id), record, signal)
    const status = await this.inspect(spec.id)
    const report = new RunDirectory(this.#directory(spec.id)).startReport(record.launch ?? '')
    const initFailures = report.kind === 'started' ? report.initFailures : []
    return status.state === 'running' && initFailures.length > 0 ? { ...status, initFailures } : status
  }

  async inspect(id: InstanceId): Promise<InstanceStatus> {
    const directory = this.#directory(id)
    const state = await this.#launcher.look(directory)
    if (state.kind !== 'unsettled') return statusOf(state)
    return this.#locked(id, async () => statusOf(await this.#launcher.settle(directory, id)))
  }

  stop(id: InstanceId, options: { readonly timeoutMs: number }, fence: number): Promise<StopReport> {
    return this.#locked(id, async (directory) => {
      await this.#fence(directory, fence)
      const report = await this.#launcher.stop(directory, id, options.timeoutMs)
      this.#watches.get(id)?.wake()
      return report
    })
  }

  remove(id: InstanceId, fence: number): Promise<void> {
    return this.#locked(id, async (directory) => {
      await this.#fence(directory, fence)
      await this.#launcher.stop(directory, id, 0)
      this.#watches.get(id)?.stop()
      this.#watches.delete(id)
      await removeTree(directory)
      await this.#ports.releaseAll(id)
      await this.#options.networks?.release(id)
      await this.#sweepOnce()
    })
  }

  async list(): Promise<readonly InstanceSummary[]> {
    const ids = await this.#ids()
    const known = await Promise.all(
      ids.map(async (id): Promise<InstanceSummary> => {
        const record = await readRecord(this.#directory(id))
        return { id, labels: record?.labels ?? orphanLabels([]), status: record === null ? NEVER_RAN : await this.inspect(id) }
      }),
    )
    // Real things without a directory: the state was lost, or removing was cut. Whoever asks can remove them by id.
    const real = new Set([...(await this.#options.sandbox.list()), ...(this.#options.networks?.names() ?? [])])
    const lost = [...real].filter((name) => INSTANCE_ID.test(name) && !ids.includes(name as InstanceId))
    const orphans = lost.map((name): InstanceSummary => {
      return { id: name as InstanceId, labels: orphanLabels(this.#options.sandbox.processes(name)), status: NEVER_RAN }
    })
    return [...known, ...orphans]
  }

  async waitForExit(id: InstanceId, signal: AbortSignal): Promise<InstanceStatus> {
    for (;;) {
      signal.throwIfAborted()
      const status = await this.inspect(id)
      if (status.state !== 'running') return status
      const state = await this.#launcher.look(this.#directory(id))
      const supervisor = state.kind === 'running' ? identify(state.supervisor) : null
      if (supervisor === null) continue
      const forget = this.#vitals.watch(supervisor, () => this.#exits.emit(id))
      await this.#exits.next(id, EXIT_BACKSTOP_MS, signal).finally(forget)
    }
  }

  async *logs(id: InstanceId, options: InstanceLogOptions): AsyncIterable<InstanceLogLine> {
    const directory = this.#directory(id)
    const record = await readRecord(directory)
    if (record === null) return
    const watch = this.#watch(id)
    const run = new RunDirectory(directory)
    yield* new InstanceLog(run.log).lines(options, {
      isRunning: () => run.isClaimedByLiving(),
      isOver: () => !run.exists(),
      changed: (seen, signal) => watch.changed(seen, signal),
    })
  }

  async exec(
    id: InstanceId,
    command: string,
    options: { readonly timeoutMs: number; readonly signal: AbortSignal },
  ): Promise<CommandOutcome> {
    const directory = this.#directory(id)
    const state = await this.#launcher.look(directory)
    if (state.kind !== 'running') throw new ShiplockError('CONFLICT', `instance ${id} is not running`)
    return execBeside(this.#launcher, directory, state.record, command, options)
  }

  async diagnose(id: InstanceId): Promise<readonly string[]> {
    const state = await this.#launcher.look(this.#directory(id))
    if (state.kind !== 'running' || state.record.port === null) return []
    return diagnoseListeners(state.record.port, this.#options.sandbox.processes(id))
  }

  /** In a network of its own nobody else can listen; in the host's everybody can, so the sockets are looked at. */
  async proveEndpoint(id: InstanceId): Promise<EndpointProof> {
    const state = await this.#launcher.look(this.#directory(id))
    if (state.kind !== 'running' || state.record.port === null) return { kind: 'silent' }
    if (state.record.address != null) return { kind: 'own' }
    return proveEndpoint(state.record.port, () => this.#options.sandbox.processes(id), titleOf)
  }

  /** Running instances that will be in a network of their own from their next start on, and what of the host they use until then. */
  async hostUse(): Promise<readonly HostUse[]> {
    const { networks, sandbox } = this.#options
    if (networks?.isOn !== true) return []
    return hostUseOf(await Promise.all((await this.#ids()).map((id) => readRecord(this.#directory(id)))), sandbox)
  }

  runTask(spec: TaskSpec, onLine: (line: string) => void, fence: number, signal: AbortSignal, letGo?: AbortSignal): Promise<TaskResult> {
    return this.#tasks.run(spec, onLine, fence, { signal, letGo: letGo ?? new AbortController().signal })
  }

  removeTask(id: string, fence: number): Promise<void> {
    return this.#tasks.remove(id, fence)
  }

  async diskWriters(): Promise<readonly DiskWriter[]> {
    const instances = await runWriters({
      sandbox: this.#options.sandbox,
      runs: this.#instances,
      sandboxName: (id) => id,
      shared: (record) => [this.#once.sharedBy(record.labels.deploymentId)],
      settle: (id) => this.#settleOverDisk(id as InstanceId),
    })
    return [...instances, ...(await this.#tasks.diskWriters())]
  }

  #settleOverDisk(id: InstanceId): Promise<void> {
    return this.#locked(id, async (directory) => {
      const state = await this.#launcher.settle(directory, id)
      if (state.kind === 'ended' && state.outcome.overDisk) await new RunDirectory(directory).dropWritten()
      if (state.kind !== 'missing') await this.#once.trim(state.record.labels.deploymentId)
      this.#ended(id)
    })
  }

  /** Prepares the instance's own copy and spawns its supervisor; returns before init commands have run. */
  async #launch(directory: string, spec: InstanceSpec, found: RunRecord | null, fence: number, signal: AbortSignal): Promise<RunRecord> {
    await this.#launcher.makeDirectory(directory, tenantOf(spec.labels))
    const run = new RunDirectory(directory)
    // Its end was cut before what it wrote was given back.
    if (found?.launch && run.overDisk(found.launch) !== null) await run.dropWritten()
    const place = await this.#launcher.place(spec.id, spec.labels, spec.port ?? OWN_PORT, true)
    await ownCopy(this.#options.sandbox, directory, spec, signal)
    const support = await laySupport(this.#options.sandbox, directory, { ...spec, tenant: tenantOf(spec.labels) }, signal)
    const once = await this.#once.lay(this.#options.sandbox, spec.labels)
    // One of an earlier version moves out of the host's network here.
    if (place !== null) await this.#ports.releaseAll(spec.id)
    const port = place === null ? await this.#reserve(spec, found?.address == null ? (found?.port ?? null) : null) : (spec.port ?? OWN_PORT)
    const site = spec.staticRoot === null ? null : await this.#static.command(this.#options.sandbox, spec.staticRoot, spec.site)
    const where = { port, address: place?.address ?? null }
    const record = newRecord({ ...spec, diskMb: this.#diskMb(spec.diskMb ?? null) }, fence, where)
    return this.#launcher.launch(directory, spec.id, record, {
      tenant: tenantOf(spec.labels),
      argv: runScript(spec.initFailure, spec.initCommands, site === null ? ['shell', ...spec.startCommands] : ['exec', ...site.argv]),
      env: { ...spec.env, ...support.env, ...once.env, PORT: String(port), SHIPLOCK_INSTANCE: spec.id },
      mounts: [...support.mounts, ...once.mounts, ...(site?.mounts ?? [])],
      searchFirst: [...support.searchFirst, ...once.searchFirst],
      network: place?.network ?? null,
      cpu: spec.cpu,
      memoryMb: spec.memoryMb,
      keepsEnvironment: true,
    })
  }

  async #sweepOnce(): Promise<void> {
    const records = await Promise.all((await this.#ids()).map((id) => readRecord(this.#directory(id))))
    await this.#once.sweep(new Set(records.flatMap((record) => record?.labels.deploymentId ?? [])))
  }

  async #adoptEnvironments(): Promise<void> {
    const ids = await this.#ids()
    for (const id of ids) {
      const directory = this.#directory(id)
      const { kind } = await this.#launcher.look(directory)
      await this.#environments.adopt(id, directory, kind === 'running')
    }
    await this.#tasks.adoptEnvironments()
    await this.#environments.sweep((name) => ids.includes(name as InstanceId))
  }

  #ended(name: string): void {
    this.#exits.emit(name)
    this.#watches.get(name)?.wake()
  }

  #diskMb(wanted: number | null): number | null {
    const most = this.#options.instanceDiskMb ?? null
    return most === null || wanted === null ? (wanted ?? most) : Math.min(wanted, most)
  }

  #reserve(spec: InstanceSpec, before: number | null): Promise<number> {
    if (spec.port === null) return this.#ports.reserve(spec.id, before)
    return this.#ports.reserveFixed(spec.id, spec.port, (pid) => titleOf(pid))
  }

  async #fence(directory: string, fence: number): Promise<void> {
    const record = await readRecord(directory)
    assertFence(record, fence)
    if (record !== null && record.fence !== fence) await writeRecord(directory, { ...record, fence })
  }

  #watch(id: InstanceId): LogWatch {
    const known = this.#watches.get(id)
    if (known !== undefined) return known
    const watch = new LogWatch(new InstanceLog(new RunDirectory(this.#directory(id)).log), this.#clock, () => this.#isOpen)
    this.#watches.set(id, watch)
    watch.start()
    return watch
  }

  #directory(id: InstanceId): string {
    if (!INSTANCE_ID.test(id)) throw new ShiplockError('INTERNAL', `${JSON.stringify(id)} is no instance id`)
    return join(this.#instances, id)
  }

  #locked<Result>(id: InstanceId, action: (directory: string) => Promise<Result>): Promise<Result> {
    return this.#locks.run(id, () => action(this.#directory(id)))
  }

  async #ids(): Promise<readonly InstanceId[]> {
    const names = await readdir(this.#instances).catch(() => [])
    return names.filter((name) => INSTANCE_ID.test(name)) as InstanceId[]
  }
}

const NEVER_RAN = { state: 'exited', exitCode: null, signal: null, outOfMemory: false, stopped: false, exitedAt: null } as const

function statusOf(state: RunState): InstanceStatus {
  switch (state.kind) {
    case 'missing':
      return { state: 'missing' }
    case 'idle':
      return { ...NEVER_RAN, stopped: state.record.stopAsked }
    case 'running':
      return { state: 'running', address: { host: state.record.address ?? HOST, port: state.record.port ?? 0 }, startedAt: state.startedAt }
    case 'ended':
      return { state: 'exited', ...state.outcome }
  }
}
