import { LIMITS } from '../core/limits.ts'
import type { DeployConfig, HealthCheck, ReadinessCheck, RunConfig, ScanConfig, TriggerConfig } from '../domain/service-config.ts'
import { deepFreeze } from './deep-freeze.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE

/** Every default of a service's configuration. The § numbers name the chapter of DESIGN.md that a number comes from. */
export const DEFAULTS = deepFreeze({
  build: {
    /** The server's BUILD_TIMEOUT (§3) ends a deployment earlier; this is only the bound that no build passes (§3). */
    timeoutMs: LIMITS.buildHardTimeoutMs,
    dockerfile: 'Dockerfile',
    context: '.',
    deployFiles: ['./'],
  },
  /** §2: HIGH warns, CRITICAL blocks. Without a word here the server's says what an absent scanner means. */
  scan: {
    enabled: true,
    high: 'warn',
    critical: 'block',
    ignoreUnfixed: false,
    waivers: [],
    onScannerFailure: null,
    // Not block: keys that a web page shows to everybody are often kept among the secrets.
    secrets: 'warn',
  } satisfies ScanConfig as ScanConfig,
  /** §4: a failing init command does not stop the start. §5: the sizes. */
  run: {
    base: null,
    os: null,
    prepareCommands: [],
    initCommands: [],
    initFailure: 'continue',
    startCommands: [],
    staticRoot: null,
    site: { singlePage: false, redirects: [], headers: [] },
    port: null,
    instances: 1,
    cpu: 'shared-1x',
    memoryMb: 512,
    /** As much as the server lets an instance have. */
    diskMb: null,
    regions: [],
    env: {},
    healthCheck: null,
    ociRuntime: null,
  } satisfies RunConfig as RunConfig,
  /** §4. Without a check that the owner wrote, an open port is all that can be asked of any app: many answer `/` with 404 or 401. */
  readinessCheck: {
    probe: { kind: 'tcp', port: null },
    retryPeriodMs: 5 * SECOND,
    failureTimeoutMs: 300 * SECOND,
    attemptTimeoutMs: 5 * SECOND,
    attempts: 1,
  } satisfies ReadinessCheck as ReadinessCheck,
  /** §4 names the fields. The numbers: off the edge after three failed probes, restarted after six, back after one probe period of answers. */
  healthCheck: {
    periodMs: 5 * SECOND,
    attemptTimeoutMs: 5 * SECOND,
    disconnectTimeoutMs: 15 * SECOND,
    failureTimeoutMs: 30 * SECOND,
    recoveryTimeoutMs: 5 * SECOND,
  } satisfies Omit<HealthCheck, 'probe'> as Omit<HealthCheck, 'probe'>,
  httpGet: { path: '/', scheme: 'http' },
  /** §2: bake 30 s, standby 1 h, drain bounded. stopTimeout is what container engines wait between SIGTERM and SIGKILL. */
  deploy: {
    releaseCommand: null,
    releaseCommandTimeoutMs: 10 * MINUTE,
    temporaryShutdown: false,
    drainTimeoutMs: 30 * SECOND,
    bakeMs: 30 * SECOND,
    autoRollback: true,
    standbyMs: 1 * HOUR,
    stopTimeoutMs: 10 * SECOND,
  } satisfies Omit<DeployConfig, 'readinessCheck'> as Omit<DeployConfig, 'readinessCheck'>,
  /** §2: the last 10 releases, not counting the live one. */
  retention: 10,
  /** §3: every push is deployed, in order. */
  trigger: { branch: null, tags: null, watch: [], queue: 'every' } satisfies TriggerConfig as TriggerConfig,
})
