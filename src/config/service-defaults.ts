import { buildService } from './build-service.ts'
import { DEFAULTS } from './defaults.ts'

/** The default of every key of a service, in the notation of the native file, as `config explain` shows it for an empty one. */
export function serviceDefaults(): ReadonlyMap<string, unknown> {
  const docker = buildService('name', { build: { dockerfile: DEFAULTS.build.dockerfile } }, () => '')
  const recipe = buildService('name', { run: { healthCheck: { httpGet: {} } }, deploy: { readinessCheck: { httpGet: {} } } }, () => '')
  const probe = DEFAULTS.httpGet
  return new Map([
    ...[...docker.explanation, ...recipe.explanation].map(({ path, value }) => [path, value] as const),
    ...['run.healthCheck', 'deploy.readinessCheck'].flatMap(
      (path) =>
        [
          [`${path}.httpGet.path`, probe.path],
          [`${path}.httpGet.scheme`, probe.scheme],
          [`${path}.httpGet`, null],
        ] as const,
    ),
  ])
}
