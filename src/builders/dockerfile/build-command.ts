import type { DockerfileBuild } from '../../domain/service-config.ts'
import type { BuildContext } from './build-context.ts'
import type { DockerClient } from './docker-client.ts'

export interface BuildCommand {
  readonly client: DockerClient
  readonly build: DockerfileBuild
  readonly context: Pick<BuildContext, 'directory'>
  /** The Dockerfile as it was planned. */
  readonly dockerfile: string
  /** Caches and results are shared within it: a project's environment. */
  readonly scope: string
  readonly tag: string
  readonly labels: Readonly<Record<string, string>>
  /** Where the id of the image is written. */
  readonly idFile: string
  /** Secret id → file with its value. */
  readonly secretFiles: ReadonlyMap<string, string>
  /** `none`: RUN steps have no network. */
  readonly network: 'engine' | 'none'
  readonly memoryMb: number
  readonly cpus: number | null
}

/** Arguments of the docker CLI. Values of secrets are in files, never among them (I8). */
export function buildArguments(command: BuildCommand): readonly string[] {
  const { client, build, context, dockerfile, scope, tag, labels, idFile, secretFiles } = command
  const common = [
    ...['--file', dockerfile, '--tag', tag, '--iidfile', idFile],
    ...Object.entries(labels).flatMap(([name, value]) => ['--label', `${name}=${value}`]),
    ...Object.entries(build.args).flatMap(([name, value]) => ['--build-arg', `${name}=${value}`]),
    ...(command.network === 'none' ? ['--network', 'none'] : []),
    ...(build.target === null ? [] : ['--target', build.target]),
    ...(build.platform === null ? [] : ['--platform', build.platform]),
  ]
  // Last, and never among build.args (`refuseBuilderSettings`): cache mounts of others are others.
  const caches = ['--build-arg', `BUILDKIT_CACHE_MOUNT_NS=${scope}`]
  const secrets = [...secretFiles].flatMap(([id, file]) => ['--secret', `id=${id},src=${file}`])
  switch (client.mode) {
    case 'buildx':
      // The builder within the engine, whatever the user has chosen as default: the image has to be there.
      return [
        'buildx',
        'build',
        '--builder',
        'default',
        '--load',
        '--progress',
        'plain',
        ...common,
        ...caches,
        ...secrets,
        context.directory,
      ]
    case 'buildkit':
      return ['build', '--progress', 'plain', ...common, ...caches, ...secrets, context.directory]
    case 'classic':
      return ['build', '--force-rm', ...common, ...classicLimits(command), context.directory]
  }
}

function classicLimits({ memoryMb, cpus }: BuildCommand): readonly string[] {
  const period = 100_000
  return [
    ...['--memory', `${memoryMb}m`, '--memory-swap', `${memoryMb}m`],
    ...(cpus === null ? [] : ['--cpu-period', String(period), '--cpu-quota', String(Math.round(cpus * period))]),
  ]
}
