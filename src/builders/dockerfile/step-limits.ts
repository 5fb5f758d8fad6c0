import { type FSWatcher, watch } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { LIMITS } from '../../core/limits.ts'

export interface StepLimits {
  readonly memoryMb: number
  /** null = all of them. */
  readonly cpus: number | null
}

export interface HeldSteps {
  /** How many steps were held to the limits, and how many could not be. */
  readonly held: number
  readonly missed: number
  close(): void
}

const CGROUPS = '/sys/fs/cgroup'
/** Of moby and its executor: a directory per step, with the runtime's configuration in it (executor/runcexecutor in moby/buildkit). */
const EXECUTOR = 'buildkit/executor'
const LOOK_MS = 5
const LOOK_TIMES = 400
const PERIOD_US = 100_000

/**
 * BuildKit in an engine bounds nothing of a build. Where its steps are processes of this host and this is root, the control group of each
 * step gets limits as it appears, a few milliseconds after its first process; what it took until then counts. Which build a step belongs to
 * is not told, so this holds for all that the engine builds meanwhile. null = it can't be done here.
 */
export async function holdSteps(engine: ContainerEngine, limits: StepLimits): Promise<HeldSteps | null> {
  if (!engine.isLocal || process.platform !== 'linux' || process.getuid?.() !== 0) return null
  const { DockerRootDir } = await engine.json<{ DockerRootDir?: string }>('GET', '/info')
  const directory = join(DockerRootDir ?? '/nonexistent', EXECUTOR)
  try {
    if (!(await stat(directory)).isDirectory()) return null
    return new StepWatch(directory, limits)
  } catch {
    // Another engine's layout, or one in a virtual machine.
    return null
  }
}

class StepWatch implements HeldSteps {
  held = 0
  missed = 0
  readonly #directory: string
  readonly #limits: StepLimits
  readonly #watcher: FSWatcher
  readonly #known = new Set<string>()

  constructor(directory: string, limits: StepLimits) {
    this.#directory = directory
    this.#limits = limits
    this.#watcher = watch(directory, { persistent: false }, (_event, name) => {
      // A second event for the same name is its end.
      if (name === null || !/^[a-z0-9]{25}$/.test(name) || this.#known.has(name)) return
      this.#known.add(name)
      void this.#hold(name)
    })
    this.#watcher.on('error', () => this.close())
  }

  close(): void {
    this.#watcher.close()
  }

  async #hold(name: string): Promise<void> {
    for (let look = 0; look < LOOK_TIMES; look += 1) {
      const path = await this.#cgroupOf(name)
      if (path === 'gone') return
      if (path !== null && (await bound(path, this.#limits))) {
        this.held += 1
        return
      }
      await pause(LOOK_MS)
    }
    this.missed += 1
  }

  /** null = not yet. */
  async #cgroupOf(name: string): Promise<string | null> {
    try {
      const { linux } = JSON.parse(await readFile(join(this.#directory, name, 'config.json'), 'utf8')) as {
        linux?: { cgroupsPath?: string }
      }
      const path = linux?.cgroupsPath ?? ''
      return path.startsWith('/') && !path.includes('..') ? path : null
    } catch {
      const isThere = await stat(join(this.#directory, name)).then(
        () => true,
        () => false,
      )
      return isThere ? null : 'gone'
    }
  }
}

/** Of either hierarchy. False = the group is not there yet, or does not take the limits. */
async function bound(path: string, { memoryMb, cpus }: StepLimits): Promise<boolean> {
  const bytes = String(memoryMb * 1024 * 1024)
  const quota = cpus === null ? null : Math.round(cpus * PERIOD_US)
  const second = join(CGROUPS, path)
  if (await exists(join(second, 'memory.max'))) {
    await put(join(second, 'memory.swap.max'), '0')
    await put(join(second, 'pids.max'), String(LIMITS.buildProcesses))
    if (quota !== null) await put(join(second, 'cpu.max'), `${quota} ${PERIOD_US}`)
    return put(join(second, 'memory.max'), bytes)
  }
  const first = (controller: string, file: string) => join(CGROUPS, controller, path, file)
  if (!(await exists(first('memory', 'memory.limit_in_bytes')))) return false
  await put(first('pids', 'pids.max'), String(LIMITS.buildProcesses))
  if (quota !== null) {
    await put(first('cpu', 'cpu.cfs_period_us'), String(PERIOD_US))
    await put(first('cpu', 'cpu.cfs_quota_us'), String(quota))
  }
  const isHeld = await put(first('memory', 'memory.limit_in_bytes'), bytes)
  // Only where the kernel counts swap.
  await put(first('memory', 'memory.memsw.limit_in_bytes'), bytes)
  return isHeld
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}

function put(path: string, value: string): Promise<boolean> {
  return writeFile(path, value).then(
    () => true,
    () => false,
  )
}
