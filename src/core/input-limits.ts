const KiB = 1024
const MiB = 1024 * KiB
const SECOND = 1000
const MINUTE = 60 * SECOND

/** What may come in from outside, and what it may cost; part of LIMITS. */
export const INPUT_LIMITS = {
  // ── what tenants write
  /** What one instance may write besides its artifact. A setting and run.diskMb may change it. */
  instanceDiskBytes: 10_240 * MiB,
  /** Kept free for the database and the edge; a fifth of the volume where that is less. A setting may change it. */
  diskReserveBytes: 512 * MiB,
  /** The next look at a volume comes before a writer of this speed could have used up what is above the reserve. */
  diskBytesPerSecond: 4096 * MiB,
  diskFilesPerSecond: 500_000,
  diskLookMinMs: 20,
  diskLookMaxMs: 1 * SECOND,
  /** Who may be over a limit is asked again when a volume has taken in so much more. */
  diskSweepBytes: 16 * MiB,
  diskSweepFiles: 1000,
  /** Every writer is measured so often although nothing tells that it grew. */
  diskPatrolMs: 10 * MINUTE,
  /** Of one measurement; one that takes longer tells nothing. */
  diskMeasureMs: 20 * SECOND,
  /** Pause between two attempts to make room that found nobody to stop. */
  diskRelieveMs: 5 * SECOND,
  /** Free inodes below which whoever makes files is stopped; a twentieth of the volume's where that is less. */
  diskReserveFiles: 20_000,
  /** Uploads of one project that are kept or on their way in. A setting may change it. */
  projectUploadBytes: 4096 * MiB,
  leaseMs: 10 * SECOND,
  heartbeatMs: 3 * SECOND,
  queuePollMs: 1 * SECOND,
  /** How often a server that stands by looks whether the one that worked has ended. */
  dutyLookMs: 500,
  pendingPerServiceEnvironment: 1000,
  stageRetries: 20,
  /** How long a worker waits for a database that went away before it lets its deployment go. */
  databaseOutageMs: 30 * MINUTE,
  // ── sources
  uploadBytes: 512 * MiB,
  uploadKeptMs: 24 * 60 * MINUTE,
  uploadUnpackedBytes: 2048 * MiB,
  uploadEntries: 200_000,
  uploadPathBytes: 1024,
  gitCloneBytes: 4096 * MiB,
  refLength: 200,
  hostKeyScanMs: 10 * SECOND,
  /** How far back from the tip of a branch a pushed commit is looked for. */
  /** Of one repository, and how deep they may nest. */
  gitSubmodules: 32,
  gitSubmoduleDepth: 4,
  gitPushedDepth: 200,
  /** Of one git command; the deployment's own limit is usually shorter. */
  gitCommandMs: 30 * MINUTE,
  /** Of the lines of git and ssh that are kept for the server's own log, in characters. */
  gitSaidLength: 2000,
  gitMemoryMb: 2048,
  keyscanMemoryMb: 256,
  /** Of programs that read what strangers wrote (git, ssh), at once in one room. */
  foreignProcesses: 128,
  /** Files in a checkout; its unpacked size is bounded by gitCloneBytes too. */
  gitEntries: 500_000,
  /** Unpacked to packed, once 32 MiB are unpacked. Source code reaches 20, a bomb 1000. */
  uploadRatio: 250,
  // ── registry
  /** Of one push, or one look at a manifest. */
  registryAttempts: 6,
  registryPauseMs: 30 * SECOND,
  registryRequestMs: 30 * SECOND,
  /** The distribution specification asks registries to take manifests of 4 MiB. */
  registryManifestBytes: 4 * MiB,
  registryMessageLength: 500,
  /** A push that says nothing for so long is given up and tried again. */
  registryPushStallMs: 5 * MINUTE,
  // ── configuration
  configBytes: 256 * KiB,
  variableNameLength: 128,
  variableValueBytes: 64 * KiB,
  /** Of all variables of an instance or build together: the kernel takes 2 MiB with the arguments. */
  environmentBytes: 1 * MiB,
  instances: 10,
  variables: 1000,
  services: 100,
  configListItems: 200,
  /** `run.site` goes to the server of the site as one argument; the kernel takes 128 KiB. */
  siteBytes: 96 * KiB,
  configDepth: 32,
  /** Keys and list items of one file. */
  configNodes: 10_000,
  /** With comments, indentation and punctuation. */
  configTokens: 100_000,
  configAliases: 100,
  configProblemsShown: 50,
  commandCharacters: 32 * KiB,
  detectFileBytes: 1 * MiB,
  /** Of a framework's configuration, which is a program: what decides stands near its top. */
  detectConfigBytes: 64 * KiB,
  /** Files, and directories below the top, that recognition looks through for programs and for the nearest thing to deploy. */
  detectEntries: 20_000,
  detectDepth: 6,
  /** Source files that recognition reads to find what starts a program. */
  detectFilesRead: 400,
  // ── matching and parsing of foreign text
  /** How long a long loop goes on before others have their turn. */
  sliceMs: 8,
  /** Foreign text up to here is parsed where it is; a thread of its own takes what is larger. */
  inlineParseBytes: 64 * KiB,
  /** Of one task of a thread that parses. Thousands of times what honest input takes, since hosts are busy. */
  offLoopMs: 20 * SECOND,
  offLoopWorkers: 2,
  offLoopMemoryMb: 512,
  /** Of a line of output in which the cause of a failure is looked for. */
  causeLineCharacters: 600,
  /** Of a word that a known one may be near to. */
  nearestCharacters: 128,
  /** Of one pattern of paths, branches or tags. */
  patternCharacters: 1024,
  /** Ways that the braces of one pattern make. */
  patternAlternatives: 64,
  patternExpandedCharacters: 8192,
  /** Of one .gitignore or .deployignore. */
  ignoreFileBytes: 256 * KiB,
  ignoreFileRules: 5000,
  /** Steps for the patterns of one file or list against one tree: a look at a pattern, or a character against 32 of the pattern. */
  matchSteps: 200_000_000,
  /** The same for the changed paths of one push. */
  triggerMatchSteps: 50_000_000,
  /** Names, and 16 characters of the path above each, while links of a tree are followed. */
  linkSteps: 50_000_000,
  // ── webhooks and triggers
  /** GitHub's own cap; the others send less. */
  webhookBodyBytes: 25 * MiB,
  webhookDepth: 64,
  /** Objects, lists and their members in one payload. */
  webhookNodes: 1_000_000,
  /** Changed paths taken from one push; a push with more counts as one whose paths can't be told. */
  webhookPaths: 3000,
  webhookPathCharacters: 1024,
  /** Of a name, author, title or URL of a payload. */
  webhookTextCharacters: 250,
  webhookMessageCharacters: 2000,
  webhookDeliveryIdCharacters: 128,
  /** Signatures in one `webhook-signature` header. */
  webhookSignatures: 8,
  /** How far a signed time may be from the server's. Standard Webhooks: 5 min. */
  webhookToleranceMs: 5 * MINUTE,
  webhooksPerService: 10,
  /** Beginning of a body that is kept for people; the table allows no more. */
  webhookPayloadKeptBytes: 64 * KiB,
  /** Bodies that are on their way in at the same time, all hooks together. */
  webhookBytesAtOnce: 128 * MiB,
  /** Of them those of one sender, or to one webhook; and to all webhooks of one project. */
  webhookBytesPerHolder: 32 * MiB,
  webhookBytesPerProject: 64 * MiB,
  /** What a body counts for besides its bytes. */
  webhookBodyOverheadBytes: 64 * KiB,
  webhookBodyMs: 30 * SECOND,
  /** A body of which less than this came since the last look is cut. */
  webhookBodyLookMs: 5 * SECOND,
  webhookBodyBytesPerLook: 16 * KiB,
  /** Deliveries to one webhook that were verified. */
  webhookRequestsPerMinute: 600,
  /** Requests of one address that could not be verified; after that it is told to wait, and its bodies may be this large. */
  webhookRefusalsPerMinute: 60,
  webhookDoubtedBodyBytes: 1 * MiB,
  /** Refused requests to one webhook that are noted. */
  webhookRefusalNotesPerMinute: 60,
  /** Per webhook, newest first. */
  webhookRefusalsKept: 100,
  webhookDeliveriesKept: 1000,
  webhookDeliveryKeptMs: 30 * 24 * 60 * MINUTE,
  /** How long the secret before a rotation may go on being good. */
  webhookOverlapMaxMs: 7 * 24 * 60 * MINUTE,
  /** After so many a delivery that can't be decided is settled as failed. */
  deliveryTries: 20,
  triggerPeriodMs: 1 * SECOND,
  triggerUpkeepMs: 10 * MINUTE,
  /** Webhooks whose branch heads are looked at in one round; a round begins every few seconds. */
  headChecksPerRound: 5,
  headCheckRoundMs: 2 * SECOND,
  headCheckBackoffMaxMs: 60 * MINUTE,
  headCheckMs: 30 * SECOND,
} as const
