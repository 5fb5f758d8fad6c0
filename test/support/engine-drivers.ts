import { createHash } from 'node:crypto'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { ArtifactStore, TreeArtifact } from '../../src/artifacts/artifact-store.ts'
import type { Builder } from '../../src/builders/builder.ts'
import { ShiplockError } from '../../src/core/errors.ts'
import type { Digest } from '../../src/domain/ids.ts'
import type { ServiceConfig } from '../../src/domain/service-config.ts'
import type { SourceFetcher } from '../../src/sources/source.ts'
import type { ConfigReader } from '../../src/stages/stage.ts'

/** What a "repository" of a test holds at a ref: its configuration and whether it builds. */
export interface FakeCommit {
  readonly config: ServiceConfig
  /** Lines that the build prints. */
  readonly buildLines?: readonly string[]
  readonly buildFails?: string
}

/** Commits by ref; the fetched directory holds the ref's name, and the built tree too. */
export type FakeRepository = Map<string, FakeCommit>

export function digestOf(text: string): Digest {
  return `sha256:${createHash('sha256').update(text).digest('hex')}` as Digest
}

export function fakeSource(repository: FakeRepository): SourceFetcher {
  return {
    kind: 'git',
    validate: () => {},
    fetch: async ({ source, directory }) => {
      const ref = source.kind === 'git' ? source.ref : null
      if (ref === null || !repository.has(ref)) throw new ShiplockError('REF_NOT_FOUND', `no ref ${ref}`)
      await mkdir(directory)
      await writeFile(join(directory, 'ref'), ref)
      return { kind: 'git', commit: digestOf(ref).slice(7, 47), message: `commit ${ref}`, author: 'a test', ref }
    },
  }
}

export function fakeConfigReader(repository: FakeRepository): ConfigReader {
  return {
    resolveService: async ({ directory }) => {
      const commit = repository.get(await readFile(join(directory, 'ref'), 'utf8'))
      if (commit === undefined) throw new ShiplockError('CONFIG_NOT_FOUND', 'no such commit')
      return { config: commit.config, origin: 'a test', detected: [] }
    },
    resolveImage: () => {
      throw new ShiplockError('CONFIG_INVALID', 'the fake takes no images')
    },
  }
}

export interface FakeBuilder extends Builder {
  readonly builds: string[]
  /** Sandboxes that were made and not yet removed. */
  readonly open: Set<string>
}

export function fakeBuilder(repository: FakeRepository): FakeBuilder {
  const builds: string[] = []
  const open = new Set<string>()
  const refOf = (directory: string) => readFile(join(directory, 'ref'), 'utf8')
  return {
    kind: 'recipe',
    builds,
    open,
    buildKey: async ({ sourceDirectory, env }) => digestOf(`${await refOf(sourceDirectory)} ${JSON.stringify(env)}`),
    build: async (request) => {
      const ref = await refOf(request.sourceDirectory)
      const commit = repository.get(ref)
      builds.push(ref)
      open.add(request.key)
      for (const line of commit?.buildLines ?? [`building ${ref}`]) request.onLine(line, 'build')
      request.signal.throwIfAborted()
      if (commit?.buildFails !== undefined) throw new ShiplockError('BUILD_FAILED', commit.buildFails)
      const directory = join(request.workDirectory, 'out')
      await mkdir(directory, { recursive: true })
      await writeFile(join(directory, 'ref'), ref)
      return { kind: 'tree', directory }
    },
    cleanUp: async ({ key, workDirectory }) => {
      open.delete(key)
      await rm(workDirectory, { recursive: true, force: true })
    },
  }
}

export interface FakeArtifacts extends ArtifactStore {
  readonly trees: Map<Digest, string>
}

export function fakeArtifacts(): FakeArtifacts {
  const trees = new Map<Digest, string>()
  return {
    trees,
    put: async (directory): Promise<TreeArtifact> => {
      const ref = await readFile(join(directory, 'ref'), 'utf8')
      const digest = digestOf(`tree ${ref}`)
      trees.set(digest, ref)
      return { kind: 'tree', digest, files: 1, bytes: ref.length }
    },
    find: async (digest) => (trees.has(digest) ? `/fake/${digest}` : null),
    verify: async (digest) => trees.has(digest),
    remove: async (digest) => void trees.delete(digest),
    list: async () => [...trees].map(([digest, ref]) => ({ digest, bytes: ref.length })),
  }
}
