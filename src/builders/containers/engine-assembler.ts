import { createHash, randomBytes } from 'node:crypto'
import { posix } from 'node:path'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { findImageFacts, type ImageFacts } from '../../container-engine/image-facts.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { type PlacedTree, packTrees } from '../../core/pack-tree.ts'
import { walkTree } from '../../core/walk-tree.ts'
import type { Digest } from '../../domain/ids.ts'
import type { Tenant } from '../../domain/tenant.ts'
import { IMAGE_LABEL, imageLabels, localTag } from '../dockerfile/image-tag.ts'
import type { AssembleRequest, ImageAssembler } from '../image-assembler.ts'
import { chooseImage } from '../recipe/base-image.ts'
import type { BaseOverrides } from '../recipe/bases.ts'
import { ensureBaseImage } from './engine-images.ts'

export interface EngineAssemblerOptions {
  readonly engine: ContainerEngine
  /** Who this server is in the engine; on every image as a label. */
  readonly owner: string
  readonly bases: BaseOverrides
  /** User and group id under which instances of a tenant run. */
  readonly userOf: (tenant: Tenant) => Promise<number>
}

/** Raised when the same inputs would make another image. */
const ASSEMBLY_VERSION = 1
const APP = 'var/www'
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

/** Puts images together in the engine, without a build: a container that never runs takes the files and is kept as an image. */
export function createEngineAssembler(options: EngineAssemblerOptions): ImageAssembler {
  return {
    assemble: async (request) => {
      const { engine } = options
      const base = await baseOf(options, request)
      const key = assemblyKey(request, base.id)
      const tag = localTag({ names: request.names, key: `tree-${key.slice(0, 40)}` })
      const present = await findImageFacts(engine, tag)
      const isReused = present?.labels[IMAGE_LABEL.deployment] === key
      const id = isReused && present !== null ? present.id : await make(options, request, { base, key, tag })
      const digest = (id.includes(':') ? id : `sha256:${id}`) as Digest
      const artifact = { kind: 'image' as const, digest, reference: tag, command: null, exposedPorts: [], tree: request.tree }
      return { artifact, isReused }
    },
  }
}

async function baseOf({ engine, bases }: EngineAssemblerOptions, request: AssembleRequest): Promise<ImageFacts> {
  const { layer, config, treeDirectory, onLine, signal } = request
  const ofLayer = layer?.image ?? null
  if (ofLayer !== null) {
    const facts = await findImageFacts(engine, ofLayer)
    if (facts !== null) return facts
    // Never the bare base in its place: what run.prepareCommands installed would be missing without a word.
    throw new ShiplockError('BUILD_FAILED', 'the image of the runtime layer is no longer in the engine', {
      hint: 'Deploy again: it is then made anew.',
    })
  }
  const named = config.base === null ? [] : [config.base]
  const chosen = chooseImage({ key: 'run.base', bases: named, os: config.os, directory: treeDirectory }, bases)
  onLine(`run base ${chosen.base}: ${chosen.image} (${chosen.reason})`)
  const id = await ensureBaseImage(engine, chosen.image, { onLine, signal })
  const found = await findImageFacts(engine, id, signal)
  if (found === null)
    throw new ShiplockError('BASE_UNAVAILABLE', `the image ${chosen.image} was removed meanwhile`, { hint: 'Deploy again.' })
  return found
}

async function make(
  { engine, owner, userOf }: EngineAssemblerOptions,
  request: AssembleRequest,
  { base, key, tag }: { readonly base: ImageFacts; readonly key: string; readonly tag: string },
): Promise<string> {
  const { layer, names, projectId, serviceEnvironmentId, signal } = request
  const user = await userOf(request)
  const name = `shiplock-${owner}-assembly-${randomBytes(6).toString('hex')}`
  const home = layer?.home ?? `/${APP}`
  const path = base.path ?? DEFAULT_PATH
  const body = {
    Image: base.id,
    Entrypoint: [''],
    Cmd: ['/bin/sh'],
    User: `${user}:${user}`,
    WorkingDir: `/${APP}`,
    Env: [`PATH=${posix.join(home, '.local/bin')}:${path}`, `HOME=${home}`],
    Labels: imageLabels(owner, { names, key, projectId, serviceEnvironmentId }),
    HostConfig: { NetworkMode: 'none' },
  }
  const { Id: container } = await engine.json<{ Id: string }>('POST', '/containers/create', { query: { name }, body, signal })
  try {
    const content = packTrees(await placesOf(request, user))
    await engine.json('PUT', `/containers/${container}/archive`, {
      query: { path: '/' },
      body: content,
      headers: { 'content-type': 'application/x-tar' },
      timeoutMs: LIMITS.buildHardTimeoutMs,
      isRepeatable: false,
      signal,
    })
    const [repo = '', version = ''] = tag.split(':')
    const made = await engine.json<{ Id: string }>('POST', '/commit', { query: { container, repo, tag: version }, signal })
    return made.Id
  } finally {
    await engine.json('DELETE', `/containers/${container}`, { query: { force: true, v: true } })
  }
}

async function placesOf({ treeDirectory, layer }: AssembleRequest, owner: number): Promise<PlacedTree[]> {
  const bounds = { entriesMax: LIMITS.buildTreeEntries }
  const app = { root: treeDirectory, entries: await walkTree(treeDirectory, bounds), prefix: APP, owner }
  if (layer === null) return [app]
  const entries = await walkTree(layer.directory, bounds)
  return [{ root: layer.directory, entries, prefix: layer.home.replace(/^\//, ''), owner }, app]
}

function assemblyKey({ tree, layer, projectId, environmentId }: AssembleRequest, base: string): string {
  const inputs = [ASSEMBLY_VERSION, base, tree.digest, tree.runtimeLayer ?? null, layer?.home ?? null, projectId, environmentId]
  return createHash('sha256').update(JSON.stringify(inputs)).digest('hex')
}
