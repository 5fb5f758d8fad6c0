import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { isShiplockError, ShiplockError } from '../../core/errors.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { InstanceLog } from '../process/instance-log.ts'
import { KeyedLock } from '../process/keyed-lock.ts'
import { LogWatch } from '../process/log-watch.ts'
import type { TaskResult, TaskSpec } from '../runtime.ts'
import { taskCommand } from './container-command.ts'
import { labelsOf } from './container-labels.ts'
import type { ContainerLauncher } from './container-launcher.ts'
import { ContainerLog } from './container-log.ts'
import { assertFence, type ContainerRecord, readRecord, writeRecord } from './container-record.ts'
import { type ContainerFacts, isRunning, labelsIn, neverRan } from './container-state.ts'
import { reportTag } from './start-reports.ts'

/** As `Runtime.runTask` has them. */
export interface TaskSignals {
  readonly signal: AbortSignal
  readonly letGo: AbortSignal
}

const TASK_ID = /^[a-z0-9][a-z0-9_-]{0,100}$/
const GRACE_MS = 5000
const POLL_MS = 50
const AWAY_PAUSE_MS = 500

interface Ended {
  readonly facts: ContainerFacts
  readonly record: ContainerRecord
}

/** One-off commands, each in a container of its own that is kept with its result until it is removed: a second call with its id finds it. */
export class ContainerTasks {
  readonly #directory: string
  readonly #launcher: ContainerLauncher
  readonly #clock: Clock
  readonly #locks = new KeyedLock()
  readonly #logs = new Set<ContainerLog>()

  constructor(directory: string, launcher: ContainerLauncher, clock: Clock) {
    this.#directory = directory
    this.#launcher = launcher
    this.#clock = clock
  }

  async open(): Promise<void> {
    await mkdir(this.#directory, { recursive: true, mode: 0o711 })
  }

  async close(): Promise<void> {
    await Promise.all([...this.#logs].map((log) => log.stop()))
  }

  has(id: string): boolean {
    return TASK_ID.test(id) && existsSync(join(this.#directory, id))
  }

  async run(spec: TaskSpec, onLine: (line: string) => void, fence: number, signals: TaskSignals): Promise<TaskResult> {
    const directory = this.#path(spec.id)
    const either = AbortSignal.any([signals.signal, signals.letGo])
    either.throwIfAborted()
    const found = await this.#locks.run(spec.id, () => this.#begin(directory, spec, fence, either))
    const { facts, record } = await this.#follow(directory, spec, found, onLine, signals)
    const tookMs = Math.max(0, Date.parse(facts.State.FinishedAt) - Date.parse(facts.State.StartedAt))
    return { exitCode: record.timedOut ? null : facts.State.ExitCode, timedOut: record.timedOut, tookMs, found: found !== null }
  }

  async remove(id: string, fence: number): Promise<void> {
    const directory = this.#path(id)
    return this.#locks.run(id, async () => {
      const record = await readRecord(directory)
      assertFence(record, fence)
      const facts = await this.#launcher.containers.find(this.#name(id))
      if (facts !== null) await this.#launcher.containers.remove(this.#name(id))
      await removeTree(directory)
      const labels = record?.labels ?? (facts === null ? null : labelsOf(labelsIn(facts)))
      if (labels !== null) await this.#launcher.release('task', id, labels)
    })
  }

  /** The result that an earlier call left; null = it runs now, begun by this call or an earlier one. */
  async #begin(directory: string, spec: TaskSpec, fence: number, signal: AbortSignal): Promise<Ended | null> {
    const record = await readRecord(directory)
    assertFence(record, fence)
    let present = await this.#launcher.containers.find(this.#name(spec.id))
    if (present !== null && record !== null) {
      const ours = { ...record, fence }
      await writeRecord(directory, ours)
      if (isRunning(present)) return null
      if (isResult(present, record)) return { facts: present, record: ours }
    }
    // Cut before it had a result: nothing of that run may stay, its log neither.
    if (present !== null && !neverRan(present)) {
      await this.#launcher.containers.remove(this.#name(spec.id))
      await removeTree(directory)
      present = null
    }
    const image = await this.#launcher.image(spec, signal)
    await mkdir(directory, { recursive: true, mode: 0o711 })
    const { id, labels, env, cpu, memoryMb } = spec
    const command = taskCommand(spec.command, reportTag(this.#name(spec.id)))
    await this.#launcher.launch({
      kind: 'task',
      id,
      directory,
      labels,
      image,
      command,
      tree: spec.artifactDirectory,
      env,
      port: null,
      host: null,
      cpu,
      memoryMb,
      ociRuntime: null,
      fence,
      present,
      signal,
    })
    return null
  }

  /** Hands on the output until the task ends, its time is over, the caller gives up (nothing of it runs afterwards) or lets go (it goes on). */
  async #follow(
    directory: string,
    spec: TaskSpec,
    found: Ended | null,
    onLine: (line: string) => void,
    signals: TaskSignals,
  ): Promise<Ended> {
    const log = new ContainerLog(this.#launcher.engine, this.#name(spec.id), join(directory, 'log'), this.#clock)
    this.#logs.add(log)
    await log.open()
    const stored = new InstanceLog(log.file)
    const watch = new LogWatch(stored, this.#clock)
    watch.start()
    log.follow()
    let isOver = false
    const source = {
      isRunning: () => !isOver,
      isOver: () => isOver,
      changed: (seen: number, stop: AbortSignal) => watch.changed(seen, stop),
    }
    const reading = (async () => {
      const options = { after: null, tail: null, follow: true, signal: new AbortController().signal }
      for await (const line of stored.lines(options, source)) onLine(line.text)
    })()
    try {
      const ended = found ?? (await this.#end(directory, spec, signals))
      await log.settle()
      return ended
    } finally {
      isOver = true
      watch.wake()
      await reading
      watch.stop()
      await log.stop()
      this.#logs.delete(log)
    }
  }

  async #end(directory: string, spec: TaskSpec, { signal, letGo }: TaskSignals): Promise<Ended> {
    const either = AbortSignal.any([signal, letGo])
    const name = this.#name(spec.id)
    const deadline = Date.parse((await readRecord(directory))?.launchedAt ?? '') + spec.timeoutMs
    for (;;) {
      const facts = await this.#look(name, either)
      if (facts === 'gone') throw new ShiplockError('INTERNAL', `task ${spec.id} was removed while it ran`)
      if (facts !== 'away' && !isRunning(facts)) return this.#ended(directory, facts)
      if (signal.aborted || this.#clock.now() > deadline) break
      letGo.throwIfAborted()
      const pauseMs = facts === 'away' ? AWAY_PAUSE_MS : Math.min(POLL_MS, Math.max(1, deadline - this.#clock.now()))
      await this.#clock.sleep(pauseMs, either).catch(() => {})
    }
    return this.#locks.run(spec.id, async () => {
      const record = await readRecord(directory)
      if (record !== null) await writeRecord(directory, { ...record, stopAsked: signal.aborted, timedOut: !signal.aborted })
      await this.#launcher.containers.stop(name, GRACE_MS)
      signal.throwIfAborted()
      const facts = await this.#launcher.containers.find(name)
      if (facts === null) throw new ShiplockError('INTERNAL', `task ${spec.id} was removed while it ran`)
      return this.#ended(directory, facts)
    })
  }

  /** An engine that is away says nothing about the task: it may well run on. */
  async #look(name: string, signal: AbortSignal): Promise<ContainerFacts | 'gone' | 'away'> {
    try {
      return (await this.#launcher.containers.find(name)) ?? 'gone'
    } catch (error) {
      if (signal.aborted || !isShiplockError(error, 'ENGINE_UNREACHABLE')) throw error
      return 'away'
    }
  }

  async #ended(directory: string, facts: ContainerFacts): Promise<Ended> {
    const record = await readRecord(directory)
    if (record === null) throw new ShiplockError('INTERNAL', 'the record of a task was removed while it ran')
    return { facts, record }
  }

  #name(id: string): string {
    return this.#launcher.nameOf('task', id)
  }

  #path(id: string): string {
    if (!TASK_ID.test(id)) throw new ShiplockError('INTERNAL', `${JSON.stringify(id)} is no task id`)
    return join(this.#directory, id)
  }
}

/** Ended by itself, or by its time-out; not one that was cut because its caller gave up, or that never began. */
function isResult(facts: ContainerFacts, record: ContainerRecord): boolean {
  return !neverRan(facts) && !isRunning(facts) && !record.stopAsked
}
