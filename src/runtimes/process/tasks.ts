import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import type { DiskWriter } from '../../core/disk-writer.ts'
import { ShiplockError } from '../../core/errors.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { type TaskResult, type TaskSpec, tenantOf } from '../runtime.ts'
import { InstanceLog } from './instance-log.ts'
import { newRecord, type RunRecord, readRecord, writeRecord } from './instance-record.ts'
import { KeyedLock } from './keyed-lock.ts'
import { runScript } from './launch-scripts.ts'
import { assertFence, type Launcher, type RunState } from './launcher.ts'
import { LogWatch } from './log-watch.ts'
import { ownCopy } from './own-copy.ts'
import { RunDirectory } from './run-directory.ts'
import { runWriters } from './run-disk.ts'
import { laySupport } from './run-support.ts'

const TASK_ID = /^[a-z0-9][a-z0-9_-]{0,100}$/
/** As `Runtime.runTask` has them. */
export interface TaskSignals {
  readonly signal: AbortSignal
  readonly letGo: AbortSignal
}

const GRACE_MS = 5000
const POLL_MS = 50

/** One-off commands. A run is kept with its result until it is removed, so that a second call with its id finds it. */
export class Tasks {
  readonly #directory: string
  readonly #launcher: Launcher
  readonly #clock: Clock
  readonly #diskMb: number | null
  readonly #locks = new KeyedLock()
  readonly #watches = new Set<LogWatch>()

  constructor(directory: string, launcher: Launcher, clock: Clock, diskMb: number | null) {
    this.#directory = directory
    this.#launcher = launcher
    this.#clock = clock
    this.#diskMb = diskMb
  }

  /** Nothing runs beside a task: what an earlier version kept for that goes. */
  async adoptEnvironments(): Promise<void> {
    for (const id of await readdir(this.#directory).catch(() => [])) await this.#launcher.forgetEnvironment(sandboxName(id), this.#path(id))
  }

  close(): void {
    for (const watch of this.#watches) watch.stop()
  }

  async run(spec: TaskSpec, onLine: (line: string) => void, fence: number, signals: TaskSignals): Promise<TaskResult> {
    const directory = this.#path(spec.id)
    const either = AbortSignal.any([signals.signal, signals.letGo])
    either.throwIfAborted()
    const begun = await this.#locks.run(spec.id, () => this.#begin(directory, spec, fence, either))
    const isFound = begun.kind === 'ended'
    const ended = isFound ? begun : await this.#follow(directory, spec, begun.record, onLine, signals)
    if (isFound) await this.#replay(directory, onLine, either)
    const { record } = ended
    const tookMs = ended.outcome.exitedAt === null ? 0 : Math.max(0, Date.parse(ended.outcome.exitedAt) - Date.parse(record.launchedAt))
    const { exitCode, overDisk = null } = ended.outcome
    return { exitCode: record.timedOut ? null : exitCode, timedOut: record.timedOut, tookMs, overDisk, found: isFound }
  }

  remove(id: string, fence: number): Promise<void> {
    const directory = this.#path(id)
    return this.#locks.run(id, async () => {
      assertFence(await readRecord(directory), fence)
      await this.#launcher.stop(directory, sandboxName(id), 0)
      await removeTree(directory)
      await this.#launcher.networks?.release(sandboxName(id))
    })
  }

  diskWriters(): Promise<DiskWriter[]> {
    return runWriters({
      sandbox: this.#launcher.sandbox,
      runs: this.#directory,
      sandboxName,
      shared: () => [],
      settle: (id) =>
        this.#locks.run(id, async () => {
          const directory = this.#path(id)
          const state = await this.#launcher.settle(directory, sandboxName(id))
          if (state.kind === 'ended' && state.outcome.overDisk) await new RunDirectory(directory).dropWritten()
        }),
    })
  }

  async #begin(directory: string, spec: TaskSpec, fence: number, signal: AbortSignal): Promise<Ended | Begun> {
    const found = await readRecord(directory)
    assertFence(found, fence)
    if (found !== null && !this.#launcher.cancelUnclaimed(directory, found)) {
      const state = await this.#launcher.settle(directory, sandboxName(spec.id))
      if (state.kind === 'running') {
        const adopted = { ...state.record, fence }
        await writeRecord(directory, adopted)
        return { kind: 'begun', record: adopted }
      }
    }
    const state = await this.#launcher.settle(directory, sandboxName(spec.id))
    // A run that was killed without a result is no result: it runs again.
    if (
      state.kind === 'ended' &&
      (state.outcome.exitCode !== null || state.record.timedOut || Boolean(state.outcome.overDisk)) &&
      !isCut(state)
    )
      return state
    await this.#launcher.makeDirectory(directory, tenantOf(spec.labels))
    const place = await this.#launcher.place(sandboxName(spec.id), spec.labels, null, false)
    await ownCopy(this.#launcher.sandbox, directory, spec, signal)
    const support = await laySupport(this.#launcher.sandbox, directory, { ...spec, tenant: tenantOf(spec.labels) }, signal)
    const where = { port: null, address: place?.address ?? null }
    const planned = newRecord({ ...spec, diskMb: this.#diskMb }, fence, where)
    const record = await this.#launcher.launch(directory, sandboxName(spec.id), planned, {
      tenant: tenantOf(spec.labels),
      argv: runScript('continue', [], ['shell', spec.command]),
      env: { ...spec.env, ...support.env },
      mounts: support.mounts,
      searchFirst: support.searchFirst,
      network: place?.network ?? null,
      cpu: spec.cpu,
      memoryMb: spec.memoryMb,
      keepsEnvironment: false,
    })
    return { kind: 'begun', record }
  }

  /** Hands on the output until the task ends, its time is over, the caller gives up (nothing of it runs afterwards) or lets go (it goes on). */
  async #follow(
    directory: string,
    spec: TaskSpec,
    record: RunRecord,
    onLine: (line: string) => void,
    signals: TaskSignals,
  ): Promise<Ended> {
    const log = new InstanceLog(new RunDirectory(directory).log)
    const watch = new LogWatch(log, this.#clock)
    this.#watches.add(watch)
    watch.start()
    let isOver = false
    const source = {
      isRunning: () => !isOver,
      isOver: () => isOver,
      changed: (seen: number, stop: AbortSignal) => watch.changed(seen, stop),
    }
    const lines = (async () => {
      for await (const line of log.lines({ after: null, tail: null, follow: true, signal: new AbortController().signal }, source))
        onLine(line.text)
    })()
    try {
      return await this.#end(directory, spec, record, signals)
    } finally {
      isOver = true
      watch.wake()
      await lines
      watch.stop()
      this.#watches.delete(watch)
    }
  }

  async #end(directory: string, spec: TaskSpec, record: RunRecord, { signal, letGo }: TaskSignals): Promise<Ended> {
    const either = AbortSignal.any([signal, letGo])
    const deadline = Date.parse(record.launchedAt) + spec.timeoutMs
    for (;;) {
      const state = await this.#locks.run(spec.id, () => this.#launcher.settle(directory, sandboxName(spec.id)))
      if (state.kind === 'ended') return state
      if (state.kind === 'missing') throw new ShiplockError('INTERNAL', `task ${spec.id} was removed while it ran`)
      if (signal.aborted || this.#clock.now() > deadline) break
      letGo.throwIfAborted()
      await this.#clock.sleep(Math.min(POLL_MS, Math.max(1, deadline - this.#clock.now())), either).catch(() => {})
    }
    const state = await this.#locks.run(spec.id, async () => {
      const current = await readRecord(directory)
      if (current !== null && !signal.aborted) await writeRecord(directory, { ...current, timedOut: true })
      await this.#launcher.stop(directory, sandboxName(spec.id), GRACE_MS)
      return this.#launcher.settle(directory, sandboxName(spec.id))
    })
    signal.throwIfAborted()
    if (state.kind !== 'ended') throw new ShiplockError('INTERNAL', `task ${spec.id} did not start`)
    return state
  }

  async #replay(directory: string, onLine: (line: string) => void, signal: AbortSignal): Promise<void> {
    const log = new InstanceLog(new RunDirectory(directory).log)
    const source = { isRunning: () => false, isOver: () => true, changed: async () => {} }
    for await (const line of log.lines({ after: null, tail: null, follow: false, signal }, source)) onLine(line.text)
  }

  #path(id: string): string {
    if (!TASK_ID.test(id)) throw new ShiplockError('INTERNAL', `${JSON.stringify(id)} is no task id`)
    return join(this.#directory, id)
  }
}

type Ended = Extract<RunState, { kind: 'ended' }>
interface Begun {
  readonly kind: 'begun'
  readonly record: RunRecord
}

/** Ended by us because the caller gave up: the next call runs it again. */
function isCut(state: Ended): boolean {
  return state.outcome.stopped && !state.record.timedOut
}

function sandboxName(id: string): string {
  return `task-${id}`
}
