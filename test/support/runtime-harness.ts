import { readdirSync, readFileSync, realpathSync } from 'node:fs'
import { chmod, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { silentLogger } from '../../src/core/log.ts'
import { randomId } from '../../src/core/random-id.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import type { DeploymentId, Digest, InstanceId, ProjectId, ReleaseId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { ProcessRuntime } from '../../src/runtimes/process/process-runtime.ts'
import type { InstanceSpec, Labels, Runtime, TaskSpec } from '../../src/runtimes/runtime.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import { type NetworkOptions, openNetworks } from '../../src/sandbox/network/open-networks.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'
import { memoryOf, memoryPathsOf } from './memory-directories.ts'
import { networksOf } from './network-traces.ts'

export const APPS = resolve(import.meta.dirname, 'apps')

/** A runtime under test together with the host it runs on, which outlives it as the machine outlives a server. */
export interface RuntimeHarness {
  readonly runtime: Runtime
  /** Null for runtimes that run nothing real. */
  readonly sandbox: Sandbox | null
  readonly stateDirectory: string
  /** What this runtime runs, where that is not the tree in `apps`. */
  readonly instanceSpec?: typeof instanceSpec
  readonly taskSpec?: typeof taskSpec
  /** A new runtime object on the same host, as after a server's restart; the former one lets go. */
  reopen(): Promise<Runtime>
  /** Removes all instances and tells what was left behind all the same: processes, cgroups. */
  close(): Promise<readonly string[]>
}

export interface ProcessHarnessOptions {
  readonly kind: 'auto' | 'none'
  readonly cgroups: boolean
  /** Instances get networks of their own. */
  readonly networks?: Partial<NetworkOptions>
  readonly staticServerFile?: string
}

export async function processHarness(options: ProcessHarnessOptions): Promise<RuntimeHarness> {
  const stateDirectory = realpathSync(await mkdtemp(join(tmpdir(), 'shiplock-runtime-')))
  await chmod(stateDirectory, 0o711)
  const site = options.staticServerFile === undefined ? {} : { staticServerFile: options.staticServerFile }
  const memory = await memoryOf(stateDirectory)
  const open = async () => {
    const sandbox = await createSandbox({
      stateDirectory: join(stateDirectory, 'sandbox'),
      logger: silentLogger,
      memory,
      kind: options.kind,
      cgroups: options.cgroups,
    })
    await sandbox.open()
    const defaults = {
      stateDirectory: join(stateDirectory, 'sandbox'),
      mode: 'auto',
      hostAccess: new Map(),
      openPorts: [],
      logger: silentLogger,
    }
    const networks = options.networks === undefined ? {} : { networks: await openNetworks({ ...defaults, ...options.networks }) }
    const runtime = new ProcessRuntime({ stateDirectory, sandbox, memory, logger: silentLogger, ...networks, ...site })
    await runtime.open()
    return { sandbox, runtime }
  }
  let { sandbox, runtime } = await open()
  return {
    stateDirectory,
    get runtime() {
      return runtime
    },
    get sandbox() {
      return sandbox
    },
    reopen: async () => {
      await runtime.close()
      ;({ sandbox, runtime } = await open())
      return runtime
    },
    close: async () => {
      for (const { id } of await runtime.list()) await runtime.remove(id, Number.MAX_SAFE_INTEGER)
      await runtime.close()
      const networks = networksOf(join(stateDirectory, 'sandbox'))
      const left = [...(await sandbox.list()), ...supervisorsOf(stateDirectory), ...memoryPathsOf(stateDirectory), ...networks]
      for (const name of await sandbox.list()) await sandbox.kill(name).then(() => sandbox.remove(name))
      await removeTree(stateDirectory)
      return left
    },
  }
}

/** Command lines that name the directory: supervisors, and whatever else was started for it. */
export function supervisorsOf(stateDirectory: string): readonly string[] {
  return readdirSync('/proc').flatMap((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return []
    try {
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return line.includes(`${stateDirectory}/instances/`) || line.includes(`${stateDirectory}/tasks/`) ? [`${pid} ${line}`] : []
    } catch {
      return []
    }
  })
}

export const LABELS: Labels = {
  projectId: 'prj_one' as ProjectId,
  serviceEnvironmentId: 'sen_one' as ServiceEnvironmentId,
  deploymentId: 'dep_one' as DeploymentId,
  releaseId: 'rel_one' as ReleaseId,
  title: 'shop/production/api',
}
const ARTIFACT = { kind: 'tree', digest: 'sha256:00' as Digest, files: 1, bytes: 1 } as const

export function instanceSpec(overrides: Partial<InstanceSpec> = {}): InstanceSpec {
  return {
    id: randomId<InstanceId>('ins'),
    labels: LABELS,
    artifact: ARTIFACT,
    artifactDirectory: APPS,
    initCommands: [],
    initFailure: 'continue',
    startCommands: ['node server.mjs'],
    staticRoot: null,
    port: null,
    env: {},
    cpu: 'shared-1x',
    memoryMb: 256,
    ociRuntime: null,
    stopTimeoutMs: 5000,
    ...overrides,
  }
}

export function taskSpec(overrides: Partial<TaskSpec> = {}): TaskSpec {
  return {
    id: randomId('tsk'),
    labels: LABELS,
    artifact: ARTIFACT,
    artifactDirectory: APPS,
    command: 'true',
    env: {},
    cpu: 'shared-1x',
    memoryMb: 256,
    timeoutMs: 30_000,
    ...overrides,
  }
}
