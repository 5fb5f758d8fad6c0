import type {
  BuildConfig,
  HealthCheck,
  HttpProbe,
  Probe,
  ReadinessCheck,
  RunConfig,
  ScanConfig,
  ServiceConfig,
  SiteConfig,
} from '../domain/service-config.ts'
import { deepFreeze } from './deep-freeze.ts'
import { DEFAULTS } from './defaults.ts'
import { formatDuration, parseDuration } from './duration.ts'
import type { BuildInput, HealthInput, ReadinessInput, RunInput, ServiceInput } from './manifest/schema.ts'

/** One value of the resolved form, in the notation of the native file, and where it came from. */
export interface ExplainEntry {
  /** `run.port`; `run.env.LOG_LEVEL` for maps. */
  readonly path: string
  readonly value: unknown
  /** `default`, `shiplock.yaml:12`, `zerops.yml (default of this file format)`, `detected (package.json)`. */
  readonly source: string
}

export interface BuiltService {
  readonly config: ServiceConfig
  readonly explanation: readonly ExplainEntry[]
}

type DurationInput = string | number
type ListInput = string | readonly string[]

/** Takes values one by one and notes where each came from. */
class Tracker {
  readonly entries: ExplainEntry[] = []
  readonly #sourceOf: (path: string) => string

  constructor(sourceOf: (path: string) => string) {
    this.#sourceOf = sourceOf
  }

  value<T>(path: string, given: T | undefined, fallback: T): T {
    const value = given ?? fallback
    this.entries.push({ path, value, source: given === undefined ? 'default' : this.#sourceOf(path) })
    return value
  }

  duration(path: string, given: DurationInput | undefined, fallbackMs: number): number {
    const ms = (given === undefined ? null : parseDuration(given)) ?? fallbackMs
    this.entries.push({ path, value: formatDuration(ms), source: given === undefined ? 'default' : this.#sourceOf(path) })
    return ms
  }

  list(path: string, given: ListInput | undefined, fallback: readonly string[]): readonly string[] {
    return this.value(path, given === undefined ? undefined : typeof given === 'string' ? [given] : [...given], [...fallback])
  }

  /** A map is explained name by name, so that `explain` can say which line set which variable. */
  map(path: string, given: Readonly<Record<string, string | number | boolean>> | undefined): Readonly<Record<string, string>> {
    const entries = Object.entries(given ?? {}).map(([name, value]) => [name, String(value)] as const)
    if (entries.length === 0) this.entries.push({ path, value: {}, source: given === undefined ? 'default' : this.#sourceOf(path) })
    for (const [name, value] of entries) this.entries.push({ path: `${path}.${name}`, value, source: this.#sourceOf(`${path}.${name}`) })
    return Object.fromEntries(entries)
  }

  note(path: string, value: unknown, given: boolean): void {
    this.entries.push({ path, value, source: given ? this.#sourceOf(path) : 'default' })
  }
}

/** The resolved form of a legal input, complete and frozen. `sourceOf` says where a value that was given stands. */
export function buildService(name: string, input: ServiceInput, sourceOf: (path: string) => string): BuiltService {
  const track = new Tracker(sourceOf)
  const deploy = input.deploy ?? {}
  const trigger = input.trigger ?? {}
  const config: ServiceConfig = {
    name,
    build: buildConfig(input.build ?? {}, track),
    scan: scanConfig(input.scan, track),
    run: runConfig(input.run ?? {}, track),
    deploy: {
      releaseCommand: track.value('deploy.releaseCommand', deploy.releaseCommand, DEFAULTS.deploy.releaseCommand),
      releaseCommandTimeoutMs: track.duration(
        'deploy.releaseCommandTimeout',
        deploy.releaseCommandTimeout,
        DEFAULTS.deploy.releaseCommandTimeoutMs,
      ),
      temporaryShutdown: track.value('deploy.temporaryShutdown', deploy.temporaryShutdown, DEFAULTS.deploy.temporaryShutdown),
      readinessCheck: readinessCheck(deploy.readinessCheck, track),
      drainTimeoutMs: track.duration('deploy.drainTimeout', deploy.drainTimeout, DEFAULTS.deploy.drainTimeoutMs),
      bakeMs: track.duration('deploy.bake', deploy.bake, DEFAULTS.deploy.bakeMs),
      autoRollback: track.value('deploy.autoRollback', deploy.autoRollback, DEFAULTS.deploy.autoRollback),
      standbyMs: track.duration('deploy.standby', deploy.standby, DEFAULTS.deploy.standbyMs),
      stopTimeoutMs: track.duration('deploy.stopTimeout', deploy.stopTimeout, DEFAULTS.deploy.stopTimeoutMs),
    },
    retention: track.value('retention', input.retention, DEFAULTS.retention),
    trigger: {
      branch: track.value('trigger.branch', trigger.branch, DEFAULTS.trigger.branch),
      tags: track.value('trigger.tags', trigger.tags, DEFAULTS.trigger.tags),
      watch: track.list('trigger.watch', trigger.watch, DEFAULTS.trigger.watch),
      queue: track.value('trigger.queue', trigger.queue, DEFAULTS.trigger.queue),
    },
  }
  return { config: deepFreeze(config), explanation: track.entries }
}

/** What a build section asks for; null when it leaves that to detection. */
export function buildKindOf(build: BuildInput | undefined): BuildConfig['kind'] | null {
  if (build === undefined) return null
  if (build.image !== undefined) return 'image'
  const has = (...keys: (keyof BuildInput)[]) => keys.some((key) => build[key] !== undefined)
  if (has('dockerfile', 'context', 'target', 'args', 'secrets', 'platform')) return 'dockerfile'
  return has('base', 'os', 'prepareCommands', 'buildCommands', 'deployFiles', 'cache', 'addToRunPrepare') ? 'recipe' : null
}

function buildConfig(build: BuildInput, track: Tracker): BuildConfig {
  if (build.image !== undefined) return { kind: 'image', reference: track.value('build.image', build.image, build.image) }
  if (buildKindOf(build) === 'dockerfile')
    return {
      kind: 'dockerfile',
      dockerfile: track.value('build.dockerfile', build.dockerfile, DEFAULTS.build.dockerfile),
      context: track.value('build.context', build.context, DEFAULTS.build.context),
      target: track.value<string | null>('build.target', build.target, null),
      args: track.map('build.args', build.args),
      secrets: track.list('build.secrets', build.secrets, []),
      platform: track.value<string | null>('build.platform', build.platform, null),
      timeoutMs: track.duration('build.timeout', build.timeout, DEFAULTS.build.timeoutMs),
    }
  return {
    kind: 'recipe',
    base: track.list('build.base', build.base, []),
    os: track.value<string | null>('build.os', build.os, null),
    prepareCommands: track.list('build.prepareCommands', build.prepareCommands, []),
    buildCommands: track.list('build.buildCommands', build.buildCommands, []),
    deployFiles: track.list('build.deployFiles', build.deployFiles, DEFAULTS.build.deployFiles),
    cache: track.list('build.cache', build.cache, []),
    addToRunPrepare: track.list('build.addToRunPrepare', build.addToRunPrepare, []),
    env: track.map('build.env', build.env),
    timeoutMs: track.duration('build.timeout', build.timeout, DEFAULTS.build.timeoutMs),
  }
}

function scanConfig(scan: ServiceInput['scan'], track: Tracker): ScanConfig {
  const given = scan === false || scan === 'off' ? { enabled: false } : (scan ?? {})
  const waivers = given.waivers?.map(({ id, reason, expires }) => ({ id, reason, expires: expires ?? null }))
  return {
    enabled: track.value('scan.enabled', given.enabled, DEFAULTS.scan.enabled),
    high: track.value('scan.high', given.high, DEFAULTS.scan.high),
    critical: track.value('scan.critical', given.critical, DEFAULTS.scan.critical),
    ignoreUnfixed: track.value('scan.ignoreUnfixed', given.ignoreUnfixed, DEFAULTS.scan.ignoreUnfixed),
    waivers: track.value<ScanConfig['waivers']>('scan.waivers', waivers, []),
    onScannerFailure: track.value('scan.onScannerFailure', given.onScannerFailure, DEFAULTS.scan.onScannerFailure),
    secrets: track.value('scan.secrets', given.secrets, DEFAULTS.scan.secrets),
  }
}

function runConfig(run: RunInput, track: Tracker): RunConfig {
  const defaults = DEFAULTS.run
  return {
    base: track.value('run.base', run.base, defaults.base),
    os: track.value('run.os', run.os, defaults.os),
    prepareCommands: track.list('run.prepareCommands', run.prepareCommands, defaults.prepareCommands),
    initCommands: track.list('run.initCommands', run.initCommands, defaults.initCommands),
    initFailure: track.value('run.initFailure', run.initFailure, defaults.initFailure),
    startCommands: track.list('run.start', run.start, defaults.startCommands),
    staticRoot: track.value('run.staticRoot', run.staticRoot, defaults.staticRoot),
    site: siteConfig(run.site ?? {}, track),
    port: track.value('run.port', run.port, defaults.port),
    instances: track.value('run.instances', run.instances, defaults.instances),
    cpu: track.value('run.cpu', run.cpu, defaults.cpu),
    memoryMb: track.value('run.memoryMb', run.memoryMb, defaults.memoryMb),
    diskMb: track.value<number | null>('run.diskMb', run.diskMb, defaults.diskMb ?? null),
    regions: track.list('run.region', run.region, defaults.regions),
    env: track.map('run.env', run.env),
    healthCheck: healthCheck(run.healthCheck, track),
    ociRuntime: track.value('run.ociRuntime', run.ociRuntime, defaults.ociRuntime),
  }
}

function siteConfig(site: NonNullable<RunInput['site']>, track: Tracker): SiteConfig {
  const redirects = site.redirects?.map(({ from, to, status, force }) => ({ from, to, status: status ?? 301, force: force ?? false }))
  return {
    singlePage: track.value('run.site.singlePage', site.singlePage, false),
    redirects: track.value<SiteConfig['redirects']>('run.site.redirects', redirects, []),
    headers: track.value<SiteConfig['headers']>('run.site.headers', site.headers, []),
  }
}

function probeOf(check: ReadinessInput | HealthInput): Probe {
  if (check.exec !== undefined) return { kind: 'exec', command: check.exec.command }
  if (check.tcp !== undefined) return { kind: 'tcp', port: check.tcp.port ?? null }
  const http = check.httpGet ?? {}
  return {
    kind: 'httpGet',
    path: http.path ?? DEFAULTS.httpGet.path,
    port: http.port ?? null,
    host: http.host ?? null,
    scheme: http.scheme ?? (DEFAULTS.httpGet.scheme as HttpProbe['scheme']),
    expectStatus: http.expectStatus ?? null,
  }
}

function noteProbe(path: string, probe: Probe, given: boolean, track: Tracker): void {
  const { kind, ...fields } = probe
  const shown = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== null))
  track.note(`${path}.${kind}`, shown, given)
}

function readinessCheck(check: ReadinessInput | undefined, track: Tracker): ReadinessCheck {
  const path = 'deploy.readinessCheck'
  const defaults = DEFAULTS.readinessCheck
  const probe = check === undefined ? defaults.probe : probeOf(check)
  noteProbe(path, probe, check !== undefined, track)
  return {
    probe,
    retryPeriodMs: track.duration(`${path}.retryPeriod`, check?.retryPeriod, defaults.retryPeriodMs),
    failureTimeoutMs: track.duration(`${path}.failureTimeout`, check?.failureTimeout, defaults.failureTimeoutMs),
    attemptTimeoutMs: track.duration(`${path}.attemptTimeout`, check?.attemptTimeout, defaults.attemptTimeoutMs),
    attempts: track.value(`${path}.attempts`, check?.attempts, defaults.attempts),
  }
}

function healthCheck(check: HealthInput | undefined, track: Tracker): HealthCheck | null {
  const path = 'run.healthCheck'
  if (check === undefined) return track.value<null>(path, undefined, null)
  const defaults = DEFAULTS.healthCheck
  const probe = probeOf(check)
  noteProbe(path, probe, true, track)
  return {
    probe,
    periodMs: track.duration(`${path}.execPeriod`, check.execPeriod, defaults.periodMs),
    attemptTimeoutMs: track.duration(`${path}.attemptTimeout`, check.attemptTimeout, defaults.attemptTimeoutMs),
    disconnectTimeoutMs: track.duration(`${path}.disconnectTimeout`, check.disconnectTimeout, defaults.disconnectTimeoutMs),
    failureTimeoutMs: track.duration(`${path}.failureTimeout`, check.failureTimeout, defaults.failureTimeoutMs),
    recoveryTimeoutMs: track.duration(`${path}.recoveryTimeout`, check.recoveryTimeout, defaults.recoveryTimeoutMs),
  }
}
