const KiB = 1024
const MiB = 1024 * KiB
const SECOND = 1000
const MINUTE = 60 * SECOND

/** Every bound, in one place (I12). A setting may lower or raise the ones that say so; nothing is unbounded. */
export const LIMITS = {
  // ── queue and leases
  leaseMs: 10 * SECOND,
  heartbeatMs: 3 * SECOND,
  queuePollMs: 1 * SECOND,
  pendingPerServiceEnvironment: 1000,
  stageRetries: 3,
  // ── deployments
  buildHardTimeoutMs: 60 * MINUTE,
  probeAttemptsKept: 20,
  errorLogTailLines: 40,
  eventDataBytes: 32 * KiB,
  // ── logs
  logLineBytes: 8 * KiB,
  deploymentLogBytes: 16 * MiB,
  instanceLogBytes: 32 * MiB,
  // ── sources
  uploadBytes: 512 * MiB,
  uploadUnpackedBytes: 2048 * MiB,
  uploadEntries: 200_000,
  uploadPathBytes: 1024,
  gitCloneBytes: 4096 * MiB,
  refLength: 200,
  // ── api
  apiBodyBytes: 1 * MiB,
  pageSizeMax: 200,
  sseConnections: 5000,
  // ── edge
  requestHeaderBytes: 64 * KiB,
  holdMs: 30 * SECOND,
  heldRequests: 1000,
  upstreamConnectMs: 5 * SECOND,
  upstreamConnectionsPerTarget: 1024,
  edgeControlBytes: 4 * MiB,
  // ── database
  databaseConnectMs: 10 * SECOND,
  databaseStatementMs: 30 * SECOND,
  databaseIdleInTransactionMs: 30 * SECOND,
  databaseMigrationMs: 30 * MINUTE,
  databaseIdleMs: 30 * SECOND,
  databaseHeartbeatMs: 10 * SECOND,
  databaseRetryMs: 60 * SECOND,
  databaseRetryPauseMs: 1 * SECOND,
  // ── configuration
  configBytes: 256 * KiB,
  variableNameLength: 128,
  variableValueBytes: 64 * KiB,
  instances: 10,
} as const
