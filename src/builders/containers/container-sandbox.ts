import { createHash } from 'node:crypto'
import { mkdir, realpath } from 'node:fs/promises'
import { posix } from 'node:path'
import { labelsInstead } from '../../container-engine/blank-labels.ts'
import { type ContainerEngine, isRefusal } from '../../container-engine/engine.ts'
import { findImageFacts } from '../../container-engine/image-facts.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { CommandResult } from '../../core/exec.ts'
import { giveTree } from '../../core/give-tree.ts'
import type { Tenant } from '../../domain/tenant.ts'
import type {
  ContainerRunOptions,
  Sandbox,
  SandboxContainers,
  SandboxDescription,
  SandboxedCommand,
  SandboxSpec,
  SandboxUsage,
} from '../../sandbox/sandbox.ts'
import { endAll, runInContainer } from './container-exec.ts'
import { ensureBaseImage } from './engine-images.ts'

export interface ContainerSandboxOptions {
  readonly engine: ContainerEngine
  /** Names of containers begin with it; two sandboxes on one engine with the same know each other's. */
  readonly owner: string
  /** User and group id of a tenant. */
  readonly userOf: (tenant: Tenant) => Promise<number>
  /** Whether the server may give files to other users. */
  readonly ownsFiles: boolean
}

interface ContainerFacts {
  readonly Id: string
  readonly State: { readonly Running: boolean; readonly StartedAt: string }
  readonly Config: { readonly Labels: Readonly<Record<string, string>> | null }
}

const LABEL = { owner: 'shiplock.owner', kind: 'shiplock.kind', id: 'shiplock.id', spec: 'shiplock.spec' } as const
const KIND = 'build'
const NAME = /^[a-z0-9][a-z0-9_-]{0,199}$/
const MiB = 1024 * 1024
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
/** First process of a build container: waits, and reaps what its commands leave behind. */
const KEEPER = ['/bin/sh', '-c', 'trap "exit 0" TERM; while :; do sleep 1000000 & wait "$!"; done']
/** What package managers need as root, and nothing that reaches beyond the container. */
const CAPABILITIES = ['CHOWN', 'DAC_OVERRIDE', 'FOWNER', 'FSETID', 'KILL', 'SETGID', 'SETUID', 'SYS_CHROOT', 'SETFCAP', 'MKNOD'] as const

/**
 * Build sandboxes as containers: each name is one container, made with its first command and kept until `remove`, so that what a command
 * installs in the system is there for the next. Directories are mounted, so the engine must be on this host.
 */
export class ContainerSandbox implements Sandbox {
  readonly containers: SandboxContainers
  readonly description: SandboxDescription
  readonly #options: ContainerSandboxOptions
  readonly #paths = new Map<string, string>()

  constructor(options: ContainerSandboxOptions) {
    this.#options = options
    this.description = {
      kind: 'containers',
      filesystem: true,
      processes: true,
      memory: true,
      cpu: true,
      ownUser: options.ownsFiles,
      // The engine's own, on every container.
      systemCalls: true,
      summary: `Commands run in containers of ${options.engine.address}: own system, processes and network, with limits on memory, cpu, process count.`,
    }
    const { engine } = options
    this.containers = {
      ensureImage: (reference, more) => ensureBaseImage(engine, reference, more),
      hasImage: async (id) => (await findImageFacts(engine, id)) !== null,
      snapshot: (name, tag) => this.#snapshot(name, tag),
      run: (spec, more) => this.#run(spec, more),
    }
  }

  prepare(spec: SandboxSpec): Promise<SandboxedCommand> {
    return Promise.reject(new ShiplockError('INTERNAL', `${spec.name} runs in a container: there is nothing to spawn`))
  }

  async kill(name: string): Promise<void> {
    if ((await this.#find(name)) !== null) await endAll(this.#options.engine, this.#nameOf(name))
  }

  processes(): readonly number[] {
    return []
  }

  async list(): Promise<readonly string[]> {
    const filters = JSON.stringify({ label: [`${LABEL.owner}=${this.#options.owner}`, `${LABEL.kind}=${KIND}`] })
    const found = await this.#options.engine.json<readonly { Labels: Record<string, string> }[]>('GET', '/containers/json', {
      query: { all: true, filters },
    })
    return found.flatMap(({ Labels }) => Labels[LABEL.id] ?? []).filter((name) => NAME.test(name))
  }

  /** The engine says `oom` when the kernel killed something in the container, the first process or another. */
  async usage(name: string): Promise<SandboxUsage> {
    const facts = await this.#find(name)
    if (facts === null) return { oomKilled: false, memoryPeakBytes: null }
    const filters = JSON.stringify({ container: [facts.Id], event: ['oom'], type: ['container'] })
    const since = Math.floor(Date.parse(facts.State.StartedAt) / 1000)
    const { body } = await this.#options.engine.stream('GET', '/events', {
      query: { since, until: Math.ceil(Date.now() / 1000), filters },
    })
    let bytes = 0
    for await (const chunk of body) bytes += chunk.length
    return { oomKilled: bytes > 0, memoryPeakBytes: null }
  }

  async remove(name: string): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#options.engine.json('DELETE', `/containers/${this.#nameOf(name)}`, { query: { force: true, v: true } })
        return
      } catch (error) {
        if (isRefusal(error, 404)) return
        // 409: it is being removed already; 500: a mount was still busy.
        if (!isRefusal(error, 409, 500) || attempt === REMOVE_ATTEMPTS) throw error
        await new Promise((resolve) => setTimeout(resolve, REMOVE_PAUSE_MS))
      }
    }
  }

  async own(directory: string, tenant: Tenant, { unlessOwned = false }: { readonly unlessOwned?: boolean } = {}): Promise<void> {
    if (this.#options.ownsFiles) await giveTree(directory, await this.#options.userOf(tenant), unlessOwned)
  }

  /** Containers see what is mounted and nothing else. */
  async enclose(): Promise<void> {}

  async #run(spec: SandboxSpec, options: ContainerRunOptions): Promise<CommandResult> {
    const user = await this.#options.userOf(spec.tenant)
    await this.#open(spec)
    const path = [...(spec.searchFirst ?? []), spec.env.PATH ?? (await this.#pathOf(spec.image ?? ''))].join(':')
    return runInContainer(
      this.#options.engine,
      this.#nameOf(spec.name),
      {
        argv: spec.argv,
        env: { HOME: spec.mountPoint, LANG: 'C.UTF-8', ...spec.env, PATH: path },
        user: spec.asRoot === true ? '0:0' : `${user}:${user}`,
        workingDirectory: posix.join(spec.mountPoint, spec.workingDirectory),
      },
      options,
    )
  }

  /** The container of that name with that image and those mounts, running; one that was made otherwise is replaced. */
  async #open(spec: SandboxSpec): Promise<void> {
    if (spec.image === undefined || spec.image === null) throw new ShiplockError('INTERNAL', `${spec.name} names no image`)
    const { engine } = this.#options
    const name = this.#nameOf(spec.name)
    const body = await this.#bodyOf(spec)
    const facts = await this.#find(spec.name)
    const isSame = facts?.Config.Labels?.[LABEL.spec] === body.Labels[LABEL.spec]
    if (facts !== null && isSame && facts.State.Running) return
    if (facts !== null) await this.remove(spec.name)
    try {
      await engine.json('POST', '/containers/create', { query: { name }, body })
      await engine.json('POST', `/containers/${name}/start`)
    } catch (error) {
      if (isRefusal(error) && /\/bin\/sh|executable file not found/.test(error.message))
        throw new ShiplockError('BASE_UNAVAILABLE', `the image of the base has no shell to run commands with: ${error.message}`)
      throw isRefusal(error) ? new ShiplockError('BUILD_FAILED', `the engine can't run a build container: ${error.message}`) : error
    }
  }

  async #bodyOf(spec: SandboxSpec) {
    const mounts = [{ source: spec.directory, target: spec.mountPoint, writable: true }, ...spec.mounts]
    const Mounts = await Promise.all(
      mounts.map(async ({ source, target, writable }) => {
        if (writable) await mkdir(source, { recursive: true })
        return { Type: 'bind', Source: await realpath(source), Target: target, ReadOnly: !writable }
      }),
    )
    const memory = spec.memoryMb === null ? 0 : spec.memoryMb * MiB
    const body = {
      Image: spec.image,
      Entrypoint: KEEPER.slice(0, 2),
      Cmd: KEEPER.slice(2),
      User: '0:0',
      WorkingDir: '/',
      Tty: false,
      HostConfig: {
        Mounts,
        Memory: memory,
        MemorySwap: memory,
        NanoCpus: spec.cpus === null ? 0 : Math.round(spec.cpus * 1e9),
        CpuShares: Math.round((spec.cpuWeight ?? 100) * SHARES_PER_WEIGHT),
        PidsLimit: spec.pidsMax,
        CapDrop: ['ALL'],
        CapAdd: CAPABILITIES,
        SecurityOpt: ['no-new-privileges'],
        LogConfig: { Type: 'none' },
        RestartPolicy: { Name: 'no' },
      },
    }
    const digest = createHash('sha256').update(JSON.stringify(body)).digest('hex')
    const ofImage = await findImageFacts(this.#options.engine, spec.image ?? '')
    const own = { [LABEL.owner]: this.#options.owner, [LABEL.kind]: KIND, [LABEL.id]: spec.name, [LABEL.spec]: digest }
    const Labels = labelsInstead(Object.keys(ofImage?.labels ?? {}), own)
    return { ...body, Labels }
  }

  async #snapshot(name: string, tag: string): Promise<string> {
    const [repo = '', version = 'latest'] = tag.split(':')
    const { Id } = await this.#options.engine.json<{ Id: string }>('POST', '/commit', {
      query: { container: this.#nameOf(name), repo, tag: version, pause: true },
      body: { Labels: { [LABEL.owner]: this.#options.owner, [LABEL.kind]: 'layer' } },
    })
    return Id
  }

  async #find(name: string): Promise<ContainerFacts | null> {
    try {
      return await this.#options.engine.json<ContainerFacts>('GET', `/containers/${this.#nameOf(name)}/json`)
    } catch (error) {
      if (isRefusal(error, 404)) return null
      throw error
    }
  }

  async #pathOf(image: string): Promise<string> {
    const known = this.#paths.get(image)
    if (known !== undefined) return known
    const path = (await findImageFacts(this.#options.engine, image))?.path ?? DEFAULT_PATH
    if (this.#paths.size >= PATHS_MAX) this.#paths.clear()
    this.#paths.set(image, path)
    return path
  }

  #nameOf(name: string): string {
    if (!NAME.test(name)) throw new ShiplockError('INTERNAL', `${JSON.stringify(name)} is no name for a sandbox`)
    return `shiplock-${this.#options.owner}-${name}`
  }
}
const REMOVE_ATTEMPTS = 20
const REMOVE_PAUSE_MS = 100
const SHARES_PER_WEIGHT = 10.24
const PATHS_MAX = 1000
