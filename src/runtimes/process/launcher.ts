import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { constants } from 'node:os'
import { join } from 'node:path'
import type { Clock } from '../../core/clock.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { bootId, identify, isAlive, type ProcessIdentity, signalProcess } from '../../core/process-identity.ts'
import type { CpuClass } from '../../domain/service-config.ts'
import type { Tenant } from '../../domain/tenant.ts'
import type { Sandbox, SandboxNetwork, SandboxNetworks, SandboxSpec } from '../../sandbox/sandbox.ts'
import { environmentOf } from '../environment-of.ts'
import type { Labels, StopReport } from '../runtime.ts'
import { CPU_CLASSES } from './cpu-classes.ts'
import { type LaunchOutcome, type RunRecord, readRecord, writeRecord } from './instance-record.ts'
import type { KeptEnvironments } from './kept-environments.ts'
import { RunDirectory } from './run-directory.ts'
import { settledClaim, spawnSupervisor, supervisorsOf, terminate, waitUntilClaimed, waitUntilStarted } from './supervisor.ts'

/** What to run, in terms of the sandbox. */
export interface LaunchRequest {
  readonly tenant: Tenant
  readonly argv: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly mounts: SandboxSpec['mounts']
  readonly searchFirst?: readonly string[]
  /** Being made meanwhile; null = the host's. */
  readonly network: Promise<SandboxNetwork> | null
  readonly cpu: CpuClass
  readonly memoryMb: number
  /** Whether commands may run beside it later, with its variables. */
  readonly keepsEnvironment: boolean
}

/** Where a run stands, as far as files and processes tell. */
export type RunState =
  | { readonly kind: 'missing' }
  /** Recorded, but its command does not run and never did. */
  | { readonly kind: 'idle'; readonly record: RunRecord }
  | { readonly kind: 'running'; readonly record: RunRecord; readonly supervisor: number; readonly startedAt: string }
  | { readonly kind: 'ended'; readonly record: RunRecord; readonly outcome: LaunchOutcome }

export interface Place {
  readonly address: string
  readonly network: Promise<SandboxNetwork>
}

export const MOUNT_POINT = '/var/www'

/**
 * Launches, watches and ends runs: what instances and tasks have in common. A run is a directory with a record, a log, the tree (`root`)
 * and a sandbox of the same name. Callers hold the lock of the run's id.
 */
export class Launcher {
  readonly sandbox: Sandbox
  /** null = everything runs in the host's. */
  readonly networks: SandboxNetworks | null
  readonly #environments: KeptEnvironments
  readonly #clock: Clock
  readonly #onExit: (name: string) => void

  constructor(
    { sandbox, networks }: { readonly sandbox: Sandbox; readonly networks: SandboxNetworks | null },
    environments: KeptEnvironments,
    clock: Clock,
    onExit: (name: string) => void,
  ) {
    this.sandbox = sandbox
    this.networks = networks
    this.#environments = environments
    this.#clock = clock
    this.#onExit = onExit
  }

  /** Looks without changing anything. An ended launch without a recorded outcome gets it from `settle`. */
  async look(directory: string): Promise<RunState | { readonly kind: 'unsettled'; readonly record: RunRecord }> {
    const record = await readRecord(directory)
    if (record === null) return { kind: 'missing' }
    if (record.launch === null) return { kind: 'idle', record }
    if (record.outcome !== null) return { kind: 'ended', record, outcome: record.outcome }
    const claim = await settledClaim(new RunDirectory(directory), record.launch, record.bootId)
    if (claim.kind !== 'supervisor') return { kind: 'idle', record }
    if (claim.alive) return { kind: 'running', record, supervisor: claim.identity.pid, startedAt: claim.startedAt }
    return { kind: 'unsettled', record }
  }

  /** As `look`, and writes down how an ended launch ended: nothing of it runs afterwards, its cgroup is gone. */
  async settle(directory: string, name: string): Promise<RunState> {
    const state = await this.look(directory)
    if (state.kind !== 'unsettled') return state
    const { record } = state
    // A supervisor that is gone may have left children: an app that went to the background, or escaped a group.
    await this.sandbox.kill(name)
    const run = new RunDirectory(directory)
    const exit = run.exit(record.launch ?? '')
    // A supervisor that was killed leaves the part of it that keeps the log.
    if (exit === null) for (const left of supervisorsOf(run)) signalProcess(left, 'SIGKILL')
    const usage = await this.sandbox.usage(name)
    const outcome: LaunchOutcome = {
      exitCode: exit?.code ?? null,
      signal: signalName(exit?.code ?? null),
      outOfMemory: usage.oomKilled && !record.stopAsked,
      overDisk: run.overDisk(record.launch ?? ''),
      stopped: record.stopAsked,
      exitedAt: exit?.at ?? null,
    }
    await this.sandbox.remove(name)
    await this.networks?.leave(name)
    await this.#environments.forget(name, directory)
    const settled = { ...record, outcome }
    await writeRecord(directory, settled)
    return { kind: 'ended', record: settled, outcome }
  }

  /**
   * Starts the run's command once. `record` is what to remember; its launch fields are set here.
   * Order matters: the intent is on disk before anything is spawned, so a crash at any point leaves a claim that decides.
   */
  async launch(directory: string, name: string, record: RunRecord, request: LaunchRequest): Promise<RunRecord> {
    const run = new RunDirectory(directory)
    const launch = randomBytes(8).toString('hex')
    // Whatever an earlier launch left (the host went down, a cgroup with old counters) must not be taken for this one's.
    await this.sandbox.kill(name)
    await this.sandbox.remove(name)
    const intent: RunRecord = { ...record, launch, bootId: bootId(), launchedAt: this.#now(), stopAsked: false, outcome: null }
    await writeRecord(directory, intent)
    await run.want(launch)
    if (request.keepsEnvironment) await this.#environments.keep(name, request.env)
    const command = await this.sandbox.prepare({
      name,
      tenant: request.tenant,
      argv: request.argv,
      env: request.env,
      directory: join(directory, 'root'),
      mountPoint: MOUNT_POINT,
      mounts: request.mounts,
      searchFirst: request.searchFirst ?? [],
      network: await request.network,
      workingDirectory: '',
      memoryMb: request.memoryMb,
      cpus: CPU_CLASSES[request.cpu].cores,
      cpuWeight: CPU_CLASSES[request.cpu].weight,
      pidsMax: LIMITS.pidsPerInstance,
    })
    const child = await spawnSupervisor(run, launch, command, this.sandbox, JSON.stringify(record.labels))
    child.once('exit', () => this.#onExit(name))
    await waitUntilClaimed(run, launch, intent.bootId)
    return intent
  }

  /** Where a launch of that name is to run: its address, known before anything is made, and its network, which is begun here. Null = the host's. */
  async place(name: string, labels: Labels, port: number | null, isSibling: boolean): Promise<Place | null> {
    const { networks } = this
    if (networks === null || !networks.isOn) return null
    const { key, project, alias } = environmentOf(labels)
    const address = await networks.reserve(name, { environment: key, project, alias: isSibling ? alias : null, port })
    const network = networks.join(name)
    // Awaited in `launch`; what is made meanwhile may fail first.
    network.catch(() => {})
    return { address, network }
  }

  /** Resolves once the start command runs; needs no lock, so that a slow init command can be stopped. @throws LAUNCH_FAILED */
  async awaitStarted(directory: string, record: RunRecord, signal: AbortSignal): Promise<void> {
    await waitUntilStarted(new RunDirectory(directory), record.launch ?? '', record.bootId, signal)
  }

  /** Makes sure that a launch that nobody claimed yet never runs. True when it is so; false when a supervisor has it. */
  cancelUnclaimed(directory: string, record: RunRecord): boolean {
    return record.launch === null || record.outcome !== null || new RunDirectory(directory).cancel(record.launch)
  }

  /** SIGTERM, patience, SIGKILL, proof. The record says that it was asked for before anything is signalled. */
  async stop(directory: string, name: string, timeoutMs: number): Promise<StopReport> {
    const started = this.#clock.monotonic()
    const found = await readRecord(directory)
    let killed = false
    if (found !== null && !this.cancelUnclaimed(directory, found)) {
      const state = await this.look(directory)
      if (state.kind === 'running') {
        await writeRecord(directory, { ...state.record, stopAsked: true })
        const identity = identify(state.supervisor)
        if (identity !== null) killed = await this.#end(name, identity, timeoutMs)
      }
    }
    await this.settle(directory, name)
    await this.sandbox.kill(name)
    await this.sandbox.remove(name)
    await this.networks?.leave(name)
    await this.#environments.forget(name, directory)
    if (found === null) for (const lost of supervisorsOf(new RunDirectory(directory))) await this.#outlive(lost)
    return { killed, tookMs: this.#clock.monotonic() - started }
  }

  /** True when it took SIGKILL. The supervisor is gone afterwards. */
  async #end(name: string, supervisor: ProcessIdentity, timeoutMs: number): Promise<boolean> {
    // Who runs now is remembered: a child that threw away its environment can't be found any more once its parent is gone.
    const members = this.sandbox.processes(name).flatMap((pid) => identify(pid) ?? [])
    let signaled = false
    const runs = () => {
      if (!signaled) signaled = terminate(this.sandbox, name, supervisor.pid)
      return isAlive(supervisor)
    }
    const killed = !(await this.#gone(runs, timeoutMs))
    if (killed) await this.sandbox.kill(name)
    for (const member of members) signalProcess(member, 'SIGKILL')
    await this.#outlive(supervisor)
    return killed
  }

  /** Waits for the end of a supervisor whose sandbox is empty: it only has to write down the exit code. */
  async #outlive(supervisor: ProcessIdentity): Promise<void> {
    if (!(await this.#gone(() => isAlive(supervisor), LIMITS.supervisorEndMs))) signalProcess(supervisor, 'SIGKILL')
    await this.#gone(() => isAlive(supervisor), LIMITS.killConfirmMs)
  }

  /** The environment of the running launch, where it was kept. @throws CONFLICT */
  environment(name: string): Promise<Readonly<Record<string, string>>> {
    return this.#environments.of(name)
  }

  forgetEnvironment(name: string, directory: string): Promise<void> {
    return this.#environments.forget(name, directory)
  }

  async makeDirectory(directory: string, tenant: Tenant): Promise<void> {
    await mkdir(directory, { recursive: true, mode: 0o711 })
    await this.sandbox.enclose(directory, tenant)
  }

  async #gone(runs: () => boolean, timeoutMs: number): Promise<boolean> {
    const deadline = this.#clock.monotonic() + timeoutMs
    for (let waitMs = 1; runs(); waitMs = Math.min(waitMs * 1.5, 25)) {
      if (this.#clock.monotonic() >= deadline) return false
      await this.#clock.sleep(waitMs)
    }
    return true
  }

  #now(): string {
    return new Date(this.#clock.now()).toISOString()
  }
}

/** @throws FENCED when a newer owner has been here (I6). */
export function assertFence(record: RunRecord | null, fence: number): void {
  if (record !== null && fence < record.fence) {
    throw new ShiplockError('FENCED', `${record.id} belongs to fence ${record.fence} now; ${fence} is refused`, {
      details: { id: record.id },
    })
  }
}

/** A shell says 128 + n for a command that signal n ended. */
function signalName(code: number | null): string | null {
  if (code === null || code <= 128) return null
  return Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0] ?? null
}
