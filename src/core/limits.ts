import { INPUT_LIMITS } from './input-limits.ts'

const KiB = 1024
const MiB = 1024 * KiB
const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

/** Every bound that a user can meet (I12). A setting may lower or raise the ones that say so; nothing is unbounded. */
export const LIMITS = {
  ...INPUT_LIMITS,
  // ── queue and leases
  /** Pool of one server; the embedded PostgreSQL takes more. */
  databaseConnections: 16,
  diskFreeBytesMin: 512 * MiB,
  // ── deployments
  buildHardTimeoutMs: 60 * MINUTE,
  buildProcesses: 1024,
  /** Cores that one build may be given. */
  buildCpus: 5,
  /** Of one build on disk: its sandbox and what its tools add to their caches. A setting may change it. */
  buildDiskBytes: 10_240 * MiB,
  /** Builds are stopped before the volume of the data directory, which the database shares, has less. */
  buildDiskReserveBytes: 256 * MiB,
  /** A volume that has less left is at its end. */
  diskEndBytes: 16 * MiB,
  buildDiskPollMs: 1 * SECOND,
  /** Build caches of all services together, least recently used dropped first. A setting may change it. */
  buildCacheBytes: 10_240 * MiB,
  /** How long a host's toolchains are believed to be what they were. */
  toolchainMemoryMs: 5 * MINUTE,
  /** From the last use of a runtime layer that no kept release needs to its removal. */
  runtimeLayerIdleMs: 24 * 60 * MINUTE,
  buildTreeEntries: 1_000_000,
  /** Steps of one image build that are told apart. */
  buildSteps: 2000,
  probeAttemptsKept: 20,
  errorLogTailLines: 40,
  publicProbeMs: 5 * SECOND,
  bakePollMs: 250,
  bakeErrorsMin: 5,
  unknownOutcomeRetryMs: 250,
  undoRetries: 5,
  wakeMs: 60 * SECOND,
  reaperPeriodMs: 15 * SECOND,
  reconcilePeriodMs: 1 * SECOND,
  healthMonitorPeriodMs: 1 * SECOND,
  scalerPeriodMs: 500,
  removerPeriodMs: 2_000,
  previewSweepMs: 15_000,
  /** A request for approval that nobody has answered. */
  previewApprovalKeptMs: 30 * 24 * 3_600_000,
  /** Instances tried per copy at most; the ids of later additions begin after it. */
  verifyAttempts: 10,
  restartBackoffMaxMs: 60 * SECOND,
  /** What `shiplock-once` recorded for a deployment stays this long after its last instance. */
  onceBytes: 16 * MiB,
  onceKeptMs: 60 * MINUTE,
  eventDataBytes: 32 * KiB,
  keyRotationPeriodMs: 5 * SECOND,
  /** Values sealed anew in one transaction. */
  resealBatch: 100,
  // ── logs
  logFlushMs: 100,
  /** How long lines wait for a database that went away; they are dropped, and counted in the server's log, when it stays away. */
  logRetryMs: 10 * SECOND,
  logLinesBuffered: 20_000,
  logLinesPerBatch: 1000,
  logLineBytes: 8 * KiB,
  deploymentLogBytes: 16 * MiB,
  /** Of the output of one build; leaves the rest of the deployment its share. */
  buildLogBytes: 8 * MiB,
  instanceLogBytes: 32 * MiB,
  // ── networks of instances
  /** One call of ip, nft or iptables; on a busy host they wait for each other. */
  networkToolMs: 30 * SECOND,
  /** How often what depends on the host (routes, resolvers, other firewalls) is looked at again. */
  networkRefreshMs: 30 * SECOND,
  /** How often it is proved that the port of a serving instance is its own, where it has no network of its own. */
  endpointProofMs: 1 * SECOND,
  // ── scans
  /** What a scanner may print. A large image with all its packages stays below a quarter of it. */
  scanReportBytes: 64 * MiB,
  /** Kept of one report, worst first; the counts are of all. */
  scanFindings: 2000,
  scanTargets: 500,
  /** Read of one artifact in search of the project's own secrets. */
  leakScanBytes: 4096 * MiB,
  /** Files with secrets after which the search ends. */
  leakFindings: 200,
  /** A vulnerability database older than this is worth a warning; Trivy's is made every six hours. */
  scanDatabaseAgeMs: 7 * 24 * 60 * MINUTE,
  /** Reports that no kept release needs. */
  scanKeptMs: 90 * 24 * 60 * MINUTE,
  /** Longest secret that is also looked for line by line in every encoding, in characters. */
  secretEncodedLength: 4096,
  /** Of all forms of all secrets that one redactor looks for, in characters; the most telling forms first. */
  redactorUnits: 1 * MiB,
  /** How long the last line of a follower waits for the next one while it may end within a secret. */
  redactHoldMs: 100,
  // ── access
  membersPerProject: 1000,
  /** Not counting those that were revoked. */
  tokensPerProject: 1000,
  /** Lines of the audit log. */
  auditKeptMs: 400 * DAY,
  /** How long a token that was revoked or has expired is still listed. */
  endedTokensKeptMs: 90 * DAY,
  /** Tokens and addresses whose requests are counted; who came longest ago is forgotten first. */
  rateHolders: 10_000,
  /** Public requests of one address, e.g. the health check of a load balancer. */
  anonymousPerMinute: 1200,
  /** Requests of one address that were refused for their token. */
  failuresPerMinute: 60,
  /** Statements that look up tokens and webhooks at a time, and keys in one. */
  lookupsAtOnce: 2,
  lookupKeys: 256,
  /** Requests to the API that are worked on at a time, in all and of one project, and that wait for it; the engine has the other connections. */
  requestsAtOnce: 12,
  requestsAtOncePerProject: 5,
  requestsWaitingPerProject: 2500,
  /** Connections to the API over which no good token has come; above it the oldest of whoever has the most is ended. */
  strangers: 4096,
  strangersPerAddress: 1024,
  /** How long a stream may outlive its token. */
  streamAccessMs: 2 * SECOND,
  sseConnectionsPerToken: 2000,
  /** What `env import` and `secret set` read from a file or pipe. */
  dotenvBytes: 1 * MiB,
  // ── api
  apiBodyBytes: 1 * MiB,
  /** When all of these are open, the project with the most gives its oldest to one with fewer. */
  sseConnections: 5000,
  /** Comment lines that keep proxies from closing a quiet stream. */
  sseHeartbeatMs: 15 * SECOND,
  /** A reader that takes nothing for so long is cut; it continues with Last-Event-ID. */
  sseStallMs: 30 * SECOND,
  /** Look at the tables although no notice came. */
  streamPollMs: 2 * SECOND,
  /** A request must have arrived within this time, its head sooner. */
  apiRequestMs: 10 * MINUTE,
  apiHeadersMs: 15 * SECOND,
  apiConnectionLookMs: 5 * SECOND,
  /** Health is looked at anew when the last look is older; a database that does not answer by then is unwell. */
  healthKeptMs: 200,
  healthMs: 1 * SECOND,
  /** Uploads on their way in, of one project and in all; above it the oldest of whoever has the most is cut. */
  uploadsPerProject: 16,
  uploadsAtOnce: 64,
  // ── edge
  requestHeaderBytes: 64 * KiB,
  holdMs: 30 * SECOND,
  heldRequests: 1000,
  upstreamConnectMs: 5 * SECOND,
  /** A connection that takes longer gets another target as a rival, if there is one. */
  upstreamPatienceMs: 250,
  /** Between looks of a request that no instance accepts, first and at most; `upstreamConnectMs` bounds all of it. */
  upstreamRetryFirstMs: 50,
  upstreamRetryMaxMs: 400,
  upstreamConnectionsPerTarget: 1024,
  edgeControlBytes: 4 * MiB,
  edgeControlConnections: 64,
  edgeControlMs: 15 * SECOND,
  edgeStartMs: 20 * SECOND,
  /** A worker that has not acknowledged a table by then is killed and replaced. */
  edgeWorkerAckMs: 2 * SECOND,
  /** How often the edge looks after its workers; one that leaves so many looks unanswered hangs, and is replaced. */
  edgePulseMs: 1 * SECOND,
  edgePulsesMissed: 5,
  /** How long a replaced worker may go on finishing what it has; streams that last longer are cut. */
  edgeRetireMs: 10 * MINUTE,
  edgeWorkers: 64,
  edgeRouteTargets: 256,
  edgeRouteHosts: 256,
  /** Lost routes that one call gives back. */
  edgeRoutesGivenBack: 500,
  /** Fences of removed routes that are remembered, oldest dropped first. */
  edgeTombstones: 10_000,
  /** From a host that is new to the moment at which Traefik has taken it over: poll interval, throttle and some. */
  traefikTakeoverMs: 20 * SECOND,
  traefikProbeMs: 2 * SECOND,
  /** Without a poll for so long Traefik counts as away. */
  traefikSilenceMs: 60 * SECOND,
  edgeLogBytes: 8 * MiB,
  edgeAttempts: 3,
  holdMaxMs: 10 * MINUTE,
  drainMaxMs: 60 * MINUTE,
  /** After a drain's deadline: time for a stream to reach a frame or event boundary before it is cut anyway. */
  cutGraceMs: 500,
  clientKeepAliveMs: 75 * SECOND,
  clientHeadersMs: 30 * SECOND,
  clientRequestMs: 30 * MINUTE,
  upstreamResponseMs: 2 * MINUTE,
  upstreamKeepAliveMs: 4 * SECOND,
  /** A request that may not be repeated takes a connection that was idle no longer than this, or a fresh one. */
  upstreamUnsafeReuseMs: 250,
  upstreamIdlePerTarget: 128,
  // ── database
  databaseConnectMs: 10 * SECOND,
  databaseStatementMs: 30 * SECOND,
  databaseIdleInTransactionMs: 30 * SECOND,
  databaseMigrationMs: 30 * MINUTE,
  databaseIdleMs: 30 * SECOND,
  databaseHeartbeatMs: 10 * SECOND,
  databaseRetryMs: 60 * SECOND,
  databaseRetryPauseMs: 1 * SECOND,
  databaseStartMs: 2 * MINUTE,
  databaseStopMs: 60 * SECOND,
  databaseLogBytes: 5 * MiB,
  // ── sandbox and process runtime
  /** Until a killed process must be gone. */
  killConfirmMs: 10 * SECOND,
  pidsPerInstance: 512,
  commandOutputBytes: 64 * KiB,
  /** Until a supervisor that has claimed its launch must have written who it is. */
  claimMs: 30 * SECOND,
  /** From the end of an instance's last process until its supervisor has written the exit code. */
  supervisorEndMs: 5 * SECOND,
  /** Part of an instance's log that is read at once. */
  logChunkBytes: 256 * KiB,
  /** Notes about when a log had which length. */
  logTimesBytes: 256 * KiB,
  /** Instances whose place in the log a stream of a service remembers; about 40 bytes of its id each. */
  logPositions: 200,
  // ── container engine
  engineConnectMs: 5 * SECOND,
  /** Of one call, unless it says otherwise. */
  engineCallMs: 2 * MINUTE,
  /** How long a call is repeated while no engine answers; the stage is then tried again as a whole. */
  engineRetryMs: 5 * SECOND,
  engineBodyBytes: 32 * MiB,
  /** Pull of the image of a base. */
  imagePullMs: 30 * MINUTE,
  engineFrameBytes: 1 * MiB,
  /** Of each of the three log files that the engine keeps of a container; what the server has read is kept as any instance's log. */
  containerLogFileBytes: 8 * MiB,
  /** How long a reader waits for the rest of the output of a container that has ended. */
  containerLogSettleMs: 5 * SECOND,
  /** Of counting and clearing up what it stores. */
  engineSlowCallMs: 10 * MINUTE,
  // ── garbage
  garbagePeriodMs: 1 * MINUTE,
  /** Images that no deployment has recorded may belong to a build whose record comes; no build takes longer. */
  garbageGraceMs: 60 * MINUTE,
  /** In one round; the next one goes on. */
  garbageImages: 200,
  garbageRunsShown: 20,
  // ── what is told to others
  outgoingMs: 10 * SECOND,
  outgoingAnswerBytes: 4 * KiB,
  outboxPeriodMs: 1 * SECOND,
  outboxAtOnce: 8,
  /** Longer than one attempt may take. */
  outboxClaimMs: 30 * SECOND,
  outboxAttempts: 12,
  outboxBackoffFirstMs: 2 * SECOND,
  outboxBackoffMaxMs: 10 * MINUTE,
  /** A Retry-After beyond it is cut. */
  outboxRetryAfterMaxMs: 60 * MINUTE,
  outboxKeptMs: 30 * 24 * 60 * MINUTE,
  notificationTargetsPerProject: 50,
} as const
