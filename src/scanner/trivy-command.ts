import type { Artifact } from '../domain/deployment.ts'

export interface TrivyOptions {
  /** Path of the program; null = look for `trivy` on `searchPath`. */
  readonly program: string | null
  readonly searchPath: string
  /** Databases, and what is known of image layers. One scan at a time uses it. */
  readonly cacheDirectory: string
  /** A Trivy server that has the databases. The token goes through the environment, never on a command line (I8). */
  readonly server: { readonly url: string; readonly token: string | null } | null
  /** OCI repositories of the databases, in order; empty = Trivy's own. */
  readonly databaseRepositories: readonly string[]
  readonly javaDatabaseRepositories: readonly string[]
  /** Nothing is fetched: the databases are put into the cache directory by other means. */
  readonly isOffline: boolean
  readonly timeoutMs: number
  /** The container engine that has the images; null = none does: they are read from their registry. */
  readonly engine: ImageEngine | null
}

export interface ImageEngine {
  /** How Trivy reaches it: DOCKER_HOST. Podman's socket speaks the same language. */
  readonly environment: Readonly<Record<string, string>>
  /** The id of exactly the image that will run; null = the engine does not have it. */
  findImage(artifact: ImageArtifact, signal: AbortSignal): Promise<string | null>
}

export type ImageArtifact = Extract<Artifact, { kind: 'image' }>

/** One run of Trivy. */
export type TrivyTarget =
  | { readonly command: 'image'; readonly name: string; readonly source: 'docker' | 'remote' }
  /** Lock files and the like: what a project says it needs. */
  | { readonly command: 'fs'; readonly directory: string }
  /** Installed packages, jars, programs: what is there. */
  | { readonly command: 'rootfs'; readonly directory: string }

/** How the runs of one scan differ from the usual. */
export interface RunVariant {
  /** Past another process that holds the layer cache. */
  readonly inMemory: boolean
  /** With the database that is there. */
  readonly skipUpdate: boolean
  /** Past Java archives, which need a database of their own. */
  readonly skipJava: boolean
}

/**
 * A stored tree is both a project and its outcome, and each command is blind to what the other one reads: `fs` to node_modules, wheels, jars
 * and programs, `rootfs` to lock files (Trivy's table of languages). So both look at it.
 */
export function treeTargets(directory: string, layerDirectory: string | null): TrivyTarget[] {
  return [
    { command: 'fs', directory },
    { command: 'rootfs', directory },
    ...(layerDirectory === null ? [] : [{ command: 'rootfs', directory: layerDirectory } as const]),
  ]
}

/** By content, never by a tag: the engine's id of it, or `name@sha256:…` in its registry. null = there is nothing to ask for. */
export function imageTarget({ reference }: Pick<ImageArtifact, 'reference'>, engineId: string | null): TrivyTarget | null {
  if (engineId !== null) return { command: 'image', name: engineId, source: 'docker' }
  return reference.includes('@sha256:') ? { command: 'image', name: reference, source: 'remote' } : null
}

/** What Trivy opens its Java database for (pkg/fanal/analyzer/language/java/jar). */
const JAVA_ARCHIVES = ['jar', 'war', 'par', 'ear'] as const

/** What a run looks at, for people. */
export function targetInWords(target: TrivyTarget): string {
  if (target.command === 'image') return 'the image'
  return target.command === 'fs' ? 'lock files' : 'installed packages, jars and programs'
}

/** The argv after the program's name. Flags that younger versions only know are variables (`environmentOf`): Trivy ignores unknown ones. */
export function argumentsOf(target: TrivyTarget, options: TrivyOptions, variant: RunVariant, timeoutMs = options.timeoutMs): string[] {
  const { server, isOffline } = options
  const flags = [
    ...['--format', 'json', '--scanners', 'vuln', '--list-all-pkgs', '--exit-code', '0', '--no-progress'],
    ...['--timeout', `${Math.ceil(timeoutMs / 1000)}s`, '--cache-dir', options.cacheDirectory],
    ...(server === null ? [] : ['--server', server.url]),
    ...(server === null ? databaseFlags(options, variant) : []),
    ...(isOffline ? ['--offline-scan'] : []),
    ...(variant.skipJava ? JAVA_ARCHIVES.flatMap((ending) => ['--skip-files', `**/*.${ending}`]) : []),
  ]
  if (target.command !== 'image') return [target.command, ...flags, target.directory]
  const own = [
    // One source only: what an engine does not know by its id would be looked for on Docker Hub, under that name.
    ...['--image-src', target.source],
    ...(server === null ? ['--cache-backend', variant.inMemory ? 'memory' : 'fs'] : []),
  ]
  return ['image', ...flags, ...own, target.name]
}

function databaseFlags(options: TrivyOptions, variant: RunVariant): string[] {
  return [
    ...options.databaseRepositories.flatMap((repository) => ['--db-repository', repository]),
    ...options.javaDatabaseRepositories.flatMap((repository) => ['--java-db-repository', repository]),
    ...(options.isOffline || variant.skipUpdate ? ['--skip-db-update', '--skip-java-db-update'] : []),
  ]
}

/** The whole environment of a run. */
export function environmentOf(options: TrivyOptions, workDirectory: string): Record<string, string> {
  return {
    PATH: options.searchPath,
    HOME: options.cacheDirectory,
    TMPDIR: workDirectory,
    LC_ALL: 'C.UTF-8',
    TRIVY_DISABLE_TELEMETRY: 'true',
    TRIVY_SKIP_VERSION_CHECK: 'true',
    ...(options.server?.token == null ? {} : { TRIVY_TOKEN: options.server.token }),
    ...(options.engine?.environment ?? {}),
  }
}
