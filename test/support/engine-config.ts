import type { DeployConfig, ReadinessCheck, RunConfig, ServiceConfig } from '../../src/domain/service-config.ts'

export interface ConfigChanges {
  readonly run?: Partial<RunConfig>
  readonly deploy?: Partial<Omit<DeployConfig, 'readinessCheck'>>
  readonly readiness?: Partial<ReadinessCheck>
  readonly retention?: number
}

/** A complete configuration with times that suit a test: probes by `exec`, so that no socket is needed. */
export function testConfig(changes: ConfigChanges = {}): ServiceConfig {
  return {
    name: 'app',
    build: {
      kind: 'recipe',
      base: [],
      os: null,
      prepareCommands: [],
      buildCommands: ['make'],
      deployFiles: ['./'],
      cache: [],
      addToRunPrepare: [],
      env: {},
      timeoutMs: 60_000,
    },
    scan: { enabled: false, high: 'warn', critical: 'block', ignoreUnfixed: false, waivers: [], onScannerFailure: 'warn', secrets: 'warn' },
    run: {
      base: null,
      os: null,
      prepareCommands: [],
      initCommands: [],
      initFailure: 'continue',
      startCommands: ['serve'],
      staticRoot: null,
      port: null,
      instances: 1,
      cpu: 'shared-1x',
      memoryMb: 256,
      regions: [],
      env: {},
      healthCheck: null,
      ociRuntime: null,
      ...changes.run,
    },
    deploy: {
      releaseCommand: null,
      releaseCommandTimeoutMs: 5000,
      temporaryShutdown: false,
      drainTimeoutMs: 100,
      bakeMs: 20,
      autoRollback: true,
      standbyMs: 3_600_000,
      stopTimeoutMs: 100,
      ...changes.deploy,
      readinessCheck: {
        probe: { kind: 'exec', command: 'check' },
        retryPeriodMs: 10,
        failureTimeoutMs: 60,
        attemptTimeoutMs: 1000,
        attempts: 1,
        ...changes.readiness,
      },
    },
    retention: changes.retention ?? 10,
    trigger: { branch: null, tags: null, watch: [], queue: 'every' },
  }
}
