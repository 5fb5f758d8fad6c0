import { createHash, randomBytes } from 'node:crypto'
import { chmod, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory, writeFileAtomic } from '../../core/atomic-file.ts'
import { copyTree } from '../../core/copy-tree.ts'
import { ShiplockError } from '../../core/errors.ts'
import { runCommand } from '../../core/exec.ts'
import { LIMITS } from '../../core/limits.ts'
import { removeTree } from '../../core/remove-tree.ts'
import { walkTree } from '../../core/walk-tree.ts'
import type { ServiceEnvironmentId } from '../../domain/ids.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import type { BuildCaches } from '../build-caches.ts'
import type {
  FoundLayer,
  LayerBaseRequest,
  PreparedLayer,
  RuntimeLayerRequest,
  RuntimeLayerSummary,
  RuntimeLayers,
} from '../runtime-layers.ts'
import { chooseImage } from './base-image.ts'
import type { BaseOverrides } from './bases.ts'
import { TOOLS_DIRECTORY } from './build-cache-store.ts'
import { BuildLog } from './build-log.ts'
import type { BuildLimits } from './build-sandbox.ts'
import { namedVariablesDigest } from './layer-key.ts'
import { LayerSandbox, removeLayerSandbox } from './layer-sandbox.ts'
import { runCommands } from './run-commands.ts'
import { baseDirectories, checkBases } from './toolchain.ts'

export interface RuntimeLayerOptions {
  /** One directory per service environment: what one prepared is never seen by another. */
  readonly directory: string
  readonly sandbox: Sandbox
  readonly limits: BuildLimits
  readonly bases?: BaseOverrides
  readonly caches?: BuildCaches
}

interface LayerAbout {
  readonly home: string
  readonly files: number
  readonly bytes: number
  readonly madeAt: string
  /** Where the commands ran in a container: the system that they left. */
  readonly image?: string
}

interface KnownLayer {
  readonly id: string
  readonly about: LayerAbout
  readonly usedAt: Date
  readonly isValid: boolean
}

/** Raised when the same inputs would make another layer. */
const LAYER_VERSION = 1
const SERVICE_ENVIRONMENT_ID = /^[a-z0-9_]{1,100}$/
const LAYER_ID = /^[0-9a-f]{64}\.[0-9a-z]{1,40}$/

/*
 * <directory>/<service environment>/      0711
 *   <key>.<time>/home/                    owned by the server once it is whole
 *   <key>.<time>/about.json               written last: a directory without it is half of a layer
 *   <key>.<time>/invalid                  not to be taken for new deployments any more
 */
export function createRuntimeLayers(options: RuntimeLayerOptions): RuntimeLayers {
  return new RuntimeLayerStore(options)
}

class RuntimeLayerStore implements RuntimeLayers {
  readonly #options: RuntimeLayerOptions
  readonly #bases: BaseOverrides
  /** base → version found, with the time at which that is to be asked again. */
  readonly #toolchains = new Map<string, { readonly version: string | null; readonly until: number }>()

  constructor(options: RuntimeLayerOptions) {
    this.#options = options
    this.#bases = options.bases ?? new Map()
  }

  async checkBase(request: LayerBaseRequest): Promise<void> {
    await this.#base(request)
  }

  async prepare(request: RuntimeLayerRequest): Promise<PreparedLayer> {
    const base = await this.#base(request)
    const key = layerKey(request, base.version)
    const known = await this.#known(request.serviceEnvironmentId)
    const same = known.findLast((layer) => layer.isValid && layer.id.startsWith(`${key}.`))
    const isLost = same !== undefined && !(await this.#hasSystem(same.about))
    const present = isLost ? undefined : same
    if (present !== undefined) {
      await this.#touch(request.serviceEnvironmentId, present.id)
      const { files, bytes } = present.about
      return { id: present.id, files, bytes, isReused: true, reason: 'run.os, base, prepareCommands and addToRunPrepare are as they were' }
    }
    const invalidated = known.some((layer) => layer.id.startsWith(`${key}.`))
    const changed =
      known.length === 0 ? 'nothing was prepared yet' : 'run.os, base, prepareCommands or the files of addToRunPrepare changed'
    const reason = isLost ? 'its image is no longer in the engine' : invalidated ? 'it was invalidated' : changed
    const id = `${key}.${Date.now().toString(36).padStart(10, '0')}${randomBytes(3).toString('hex')}`
    const about = await this.#make(request, id, base.image)
    return { id, files: about.files, bytes: about.bytes, isReused: false, reason }
  }

  async find(serviceEnvironmentId: ServiceEnvironmentId, id: string): Promise<FoundLayer | null> {
    const about = await this.#read(serviceEnvironmentId, id)
    if (about === null) return null
    await this.#touch(serviceEnvironmentId, id)
    return { directory: join(this.#path(serviceEnvironmentId, id), 'home'), home: about.home, image: about.image ?? null }
  }

  toolDirectories(base: string | null): readonly string[] {
    // Directories of the host mean nothing in the system of an image.
    if (this.#options.sandbox.containers !== null) return []
    return base === null ? [] : baseDirectories([base], this.#bases).map(({ bin }) => bin)
  }

  async invalidate(serviceEnvironmentId: ServiceEnvironmentId): Promise<number> {
    const valid = (await this.#known(serviceEnvironmentId)).filter((layer) => layer.isValid)
    for (const { id } of valid) await writeFile(join(this.#path(serviceEnvironmentId, id), 'invalid'), '', { mode: 0o600 })
    return valid.length
  }

  async list(): Promise<readonly RuntimeLayerSummary[]> {
    const ids = (await readdir(this.#options.directory).catch(() => [])).filter((name) => SERVICE_ENVIRONMENT_ID.test(name))
    const all = await Promise.all(
      (ids as ServiceEnvironmentId[]).map(async (serviceEnvironmentId) =>
        (await this.#known(serviceEnvironmentId)).map(({ id, about, usedAt }) => {
          const image = about.image === undefined ? {} : { image: about.image }
          return { serviceEnvironmentId, id, bytes: about.bytes, madeAt: about.madeAt, usedAt: usedAt.toISOString(), ...image }
        }),
      ),
    )
    return all.flat()
  }

  async remove(serviceEnvironmentId: ServiceEnvironmentId, id: string): Promise<void> {
    const path = this.#path(serviceEnvironmentId, id)
    // First: half of one must not be found.
    await rm(join(path, 'about.json'), { force: true })
    await removeTree(path)
  }

  cleanUp(key: string): Promise<void> {
    return removeLayerSandbox(this.#options.sandbox, key)
  }

  /** Files alone are half of a layer that was made in a container. */
  async #hasSystem({ image }: LayerAbout): Promise<boolean> {
    const { containers } = this.#options.sandbox
    return containers === null || (image !== undefined && (await containers.hasImage(image)))
  }

  async #make(request: RuntimeLayerRequest, id: string, image: string | null): Promise<LayerAbout> {
    const { sandbox, limits, caches } = this.#options
    const { serviceEnvironmentId, signal } = request
    await this.cleanUp(request.key)
    await this.#removeHalves(serviceEnvironmentId)
    const path = this.#path(serviceEnvironmentId, id)
    const directory = join(path, 'home')
    await this.#makeParent(serviceEnvironmentId)
    await mkdir(directory, { recursive: true, mode: 0o755 })
    if (request.files !== null) await copyTree(request.files.directory, directory)
    const toolCacheDirectory = join(request.cacheDirectory, TOOLS_DIRECTORY)
    await mkdir(toolCacheDirectory, { recursive: true, mode: 0o755 })
    await sandbox.own(toolCacheDirectory, request, { unlessOwned: true })
    const toolDirectories = this.toolDirectories(request.config.base)
    const { key, home, env } = request
    const place = new LayerSandbox({
      sandbox,
      key,
      tenant: request,
      directory,
      home,
      toolCacheDirectory,
      toolDirectories,
      limits,
      env,
      image,
    })
    const log = new BuildLog(request.onLine)
    const deadline = performance.now() + Math.min(request.timeoutMs, LIMITS.buildHardTimeoutMs)
    const hold = caches?.hold(serviceEnvironmentId) ?? null
    let made: string | null = null
    try {
      await place.open()
      await runCommands(request.config.prepareCommands, { name: 'run.prepareCommands', place, log, signal, deadline })
      made = await place.keepSystem(`shiplock/runtime-layer:${id.slice(-40)}`)
    } catch (error) {
      await this.cleanUp(request.key)
      await removeTree(path)
      throw signal.aborted ? signal.reason : error
    } finally {
      await hold?.release()
    }
    await this.cleanUp(request.key)
    return this.#seal(path, home, made)
  }

  /** Takes the home from the project, so that nothing changes it any more, and says that it is whole. */
  async #seal(path: string, home: string, image: string | null): Promise<LayerAbout> {
    const directory = join(path, 'home')
    const entries = await walkTree(directory, { entriesMax: LIMITS.buildTreeEntries })
    for (const entry of entries) if (entry.kind === 'special') await rm(join(directory, entry.path), { force: true })
    if (process.getuid?.() === 0) {
      // After the change of owner no set-id bit is left.
      const result = await runCommand('/bin/chown', ['-hR', '--', '0:0', directory], { env: {} })
      if (result.exitCode !== 0) throw new ShiplockError('INTERNAL', `the runtime layer can't be sealed: ${result.stderrTail.join(' ')}`)
    }
    await chmod(directory, 0o755)
    const files = entries.filter((entry) => entry.kind === 'file' || entry.kind === 'symlink')
    const bytes = files.reduce((sum, entry) => sum + entry.bytes, 0)
    const about: LayerAbout = { home, files: files.length, bytes, madeAt: new Date().toISOString(), ...(image === null ? {} : { image }) }
    await syncDirectory(directory)
    await writeFileAtomic(join(path, 'about.json'), JSON.stringify(about))
    return about
  }

  /** What `run.base` comes down to here: an image and its id, or a toolchain of the host; null when there is none to ask. */
  async #base(request: LayerBaseRequest): Promise<{ readonly version: string | null; readonly image: string | null }> {
    const { containers } = this.#options.sandbox
    if (containers === null) return { version: await this.#toolchain(request), image: null }
    const { config, treeDirectory, onLine, signal } = request
    const bases = config.base === null ? [] : [config.base]
    const chosen = chooseImage({ key: 'run.base', bases, os: config.os, directory: treeDirectory }, this.#bases)
    const image = await containers.ensureImage(chosen.image, { signal, onLine: (line) => onLine(line, 'engine') })
    return { version: `${chosen.image} ${image}`, image }
  }

  /** Version of the toolchain of `run.base`; null when there is none to ask. */
  async #toolchain(request: LayerBaseRequest): Promise<string | null> {
    const { base } = request.config
    if (base === null) return null
    const known = this.#toolchains.get(base)
    if (known !== undefined && known.until > performance.now()) return known.version
    const { sandbox, limits } = this.#options
    await this.#makeParent(request.serviceEnvironmentId)
    const directory = join(this.#options.directory, request.serviceEnvironmentId, `probe-${randomBytes(4).toString('hex')}`)
    await mkdir(directory, { mode: 0o755 })
    const { key, signal } = request
    const toolDirectories = this.toolDirectories(base)
    const place = new LayerSandbox({
      sandbox,
      key,
      tenant: request,
      directory,
      home: '/home/probe',
      toolCacheDirectory: null,
      toolDirectories,
      limits,
      env: {},
      image: null,
    })
    try {
      const ask = async (argv: readonly string[]) => {
        const lines: string[] = []
        const result = await place.run(argv, { timeoutMs: VERSION_TIMEOUT_MS, signal, onLine: (line) => lines.push(line) })
        if (result.aborted) throw signal.reason
        return result.exitCode === 0 ? lines : null
      }
      const [found] = await checkBases([base], ask, 'run.base')
      const version = found?.version ?? null
      this.#toolchains.set(base, { version, until: performance.now() + LIMITS.toolchainMemoryMs })
      return version
    } finally {
      await this.cleanUp(key)
      await removeTree(directory)
    }
  }

  async #makeParent(id: ServiceEnvironmentId): Promise<void> {
    const parent = this.#parent(id)
    await mkdir(parent, { recursive: true, mode: 0o711 })
  }

  /** Deployments of one service environment come one after the other: what is half here was left by a kill. */
  async #removeHalves(id: ServiceEnvironmentId): Promise<void> {
    for (const name of await readdir(this.#parent(id)).catch(() => [])) {
      const isWhole = LAYER_ID.test(name) && (await this.#read(id, name)) !== null
      if (!isWhole) await removeTree(join(this.#parent(id), name))
    }
  }

  /** Whole layers, sorted by name: those of one key by age. */
  async #known(id: ServiceEnvironmentId): Promise<readonly KnownLayer[]> {
    const names = (await readdir(this.#parent(id)).catch(() => [])).filter((name) => LAYER_ID.test(name)).sort()
    const layers = await Promise.all(
      names.map(async (name): Promise<KnownLayer | null> => {
        const about = await this.#read(id, name)
        if (about === null) return null
        const path = this.#path(id, name)
        const used = await stat(join(path, 'about.json')).catch(() => null)
        const isValid = (await stat(join(path, 'invalid')).catch(() => null)) === null
        return { id: name, about, usedAt: used?.mtime ?? new Date(about.madeAt), isValid }
      }),
    )
    return layers.filter((layer) => layer !== null)
  }

  async #read(id: ServiceEnvironmentId, name: string): Promise<LayerAbout | null> {
    try {
      return JSON.parse(await readFile(join(this.#path(id, name), 'about.json'), 'utf8')) as LayerAbout
    } catch {
      return null
    }
  }

  async #touch(id: ServiceEnvironmentId, name: string): Promise<void> {
    const now = new Date()
    await utimes(join(this.#path(id, name), 'about.json'), now, now).catch(() => {})
  }

  #parent(id: ServiceEnvironmentId): string {
    if (!SERVICE_ENVIRONMENT_ID.test(id)) throw new ShiplockError('INTERNAL', `${JSON.stringify(id)} is no service environment`)
    return join(this.#options.directory, id)
  }

  #path(id: ServiceEnvironmentId, name: string): string {
    if (!LAYER_ID.test(name)) throw new ShiplockError('INTERNAL', `${JSON.stringify(name)} is no runtime layer`)
    return join(this.#parent(id), name)
  }
}

const VERSION_TIMEOUT_MS = 20_000

/** DESIGN.md §4: run.os, run.base, run.prepareCommands and the CONTENTS of addToRunPrepare; and what those come down to on this host. */
function layerKey({ config, home, files, env }: RuntimeLayerRequest, toolchain: string | null): string {
  const { os, base, prepareCommands } = config
  const system = `${process.platform} ${process.arch}`
  const variables = namedVariablesDigest(prepareCommands, env)
  const inputs = [LAYER_VERSION, system, os, base, toolchain, prepareCommands, home, files?.digest ?? null, variables]
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex')
}
