import { mkdirSync, mkdtempSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Builder, BuildOutput, BuildRequest } from '../../src/builders/builder.ts'
import { createDockerfileBuilder, type DockerfileBuilderOptions } from '../../src/builders/dockerfile/dockerfile-builder.ts'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { parseEngineAddress } from '../../src/container-engine/engine-address.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { DockerfileBuild } from '../../src/domain/service-config.ts'
import { withoutBuildKit } from './classic-engine.ts'
import type { TestDockerd } from './dockerd.ts'
import { type TreeFiles, writeFiles } from './git-repo.ts'
import { SYSTEM_PATH } from './test-network.ts'

export type ImageArtifact = Extract<BuildOutput, { kind: 'image' }>['artifact']

export interface BuiltImage {
  readonly artifact: ImageArtifact | null
  readonly log: string
  readonly error: (Error & { readonly code?: string; readonly hint?: string }) | null
}

export interface Tenant {
  readonly project: string
  readonly environment?: string
  readonly env?: Readonly<Record<string, string>>
}

const PLAIN: DockerfileBuild = {
  kind: 'dockerfile',
  dockerfile: 'Dockerfile',
  context: '.',
  target: null,
  args: {},
  secrets: [],
  platform: null,
  timeoutMs: 120_000,
}
let count = 0

export function engineOf(dockerd: TestDockerd): ContainerEngine {
  const address = parseEngineAddress(dockerd.host)
  if ('problem' in address) throw new Error(address.problem)
  return createContainerEngine({ address })
}

/** `classic`: the builder from before BuildKit, as where an engine has none. */
export function imageBuilder(
  dockerd: TestDockerd,
  mode: 'buildkit' | 'classic',
  options: Pick<DockerfileBuilderOptions, 'memory'> & Partial<DockerfileBuilderOptions>,
): Builder {
  const engine = mode === 'classic' ? withoutBuildKit(engineOf(dockerd)) : engineOf(dockerd)
  return createDockerfileBuilder({ engine, owner: 'test', searchPath: SYSTEM_PATH, ...options })
}

/** Builds files as a service of that project. */
export async function buildImage(
  builder: Builder,
  { project, environment = 'production', env = {} }: Tenant,
  files: TreeFiles,
  config: Partial<DockerfileBuild> = {},
  prepare: (sourceDirectory: string) => void = () => {},
): Promise<BuiltImage> {
  const root = mkdtempSync(join(tmpdir(), 'shiplock-image-build-'))
  const sourceDirectory = join(root, 'source')
  mkdirSync(sourceDirectory)
  writeFiles(sourceDirectory, files)
  prepare(sourceDirectory)
  const lines: string[] = []
  const request: BuildRequest = {
    key: `dep_s${process.pid}_${count++}`,
    projectId: `prj_${project}` as ProjectId,
    environmentId: `env_${project}_${environment}` as EnvironmentId,
    serviceEnvironmentId: `sen_${project}_${environment}` as ServiceEnvironmentId,
    names: { project, environment, service: 'app' },
    config: { ...PLAIN, ...config },
    sourceDirectory,
    workDirectory: join(root, 'work'),
    cacheDirectory: join(root, 'cache'),
    env,
    startCommands: ['true'],
    timeoutMs: 120_000,
    onLine: (line, kind) => lines.push(`${kind}: ${line}`),
    signal: new AbortController().signal,
  }
  try {
    const output = await builder.build(request)
    return { artifact: output.kind === 'image' ? output.artifact : null, error: null, log: lines.join('\n') }
  } catch (error) {
    return { artifact: null, error: error as Error, log: lines.join('\n') }
  } finally {
    await removeTree(root)
  }
}
