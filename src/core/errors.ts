/** Who must act: the person who asked, time (try again), or us (a bug). */
export type ErrorActor = 'user' | 'retry' | 'us'

interface ErrorInfo {
  readonly actor: ErrorActor
  readonly http: number
  /** Exit code of the CLI; see EXIT_CODES. */
  readonly exit: number
  /** What to do next, one sentence. */
  readonly hint: string
}

/** Exit codes of the CLI. 1 is left to Node's own crashes. */
export const EXIT_CODES = {
  ok: 0,
  usage: 2,
  deploymentFailed: 3,
  platform: 4,
  notFound: 5,
  conflict: 6,
  unauthorized: 7,
  canceled: 8,
} as const

/** Every error a user can meet. The table in docs/errors.md is printed from this one. */
export const ERRORS = {
  // ── input
  INPUT_INVALID: { actor: 'user', http: 400, exit: 2, hint: 'Correct the field that is named and send it again.' },
  CONFIG_INVALID: { actor: 'user', http: 422, exit: 2, hint: 'Correct the configuration file at the place that is named.' },
  CONFIG_NOT_FOUND: {
    actor: 'user',
    http: 422,
    exit: 2,
    hint: 'Add a shiplock.yaml, a package.json with a start script, a Dockerfile or an index.html.',
  },
  UPLOAD_REFUSED: { actor: 'user', http: 422, exit: 2, hint: 'Remove the entry that is named from the archive.' },
  UPLOAD_TOO_LARGE: {
    actor: 'user',
    http: 413,
    exit: 2,
    hint: 'List what is not needed in .deployignore, or raise the limit on the server.',
  },
  WORK_TOO_LARGE: {
    actor: 'user',
    http: 422,
    exit: 2,
    hint: 'Use fewer or plainer patterns; docs/configuration.md has the bounds.',
  },
  // ── access
  UNAUTHORIZED: {
    actor: 'user',
    http: 401,
    exit: 7,
    hint: 'Set SHIPLOCK_TOKEN, or run the command where the server keeps its data directory.',
  },
  FORBIDDEN: { actor: 'user', http: 403, exit: 7, hint: 'Ask an owner of the project for a token with that scope.' },
  NOT_FOUND: { actor: 'user', http: 404, exit: 5, hint: 'Check the name; `shiplock status` lists what there is.' },
  METHOD_NOT_ALLOWED: { actor: 'user', http: 405, exit: 2, hint: 'GET /openapi.json lists what there is.' },
  BODY_TOO_LARGE: { actor: 'user', http: 413, exit: 2, hint: 'Send less in one request.' },
  CONFLICT: { actor: 'user', http: 409, exit: 6, hint: 'Look at the present state and decide again.' },
  PLAN_LIMIT: {
    actor: 'user',
    http: 409,
    exit: 6,
    hint: 'Remove one that is not needed, or ask whoever runs the server for a larger plan.',
  },
  CANCEL_REFUSED: { actor: 'user', http: 409, exit: 6, hint: 'The new version already serves; use `shiplock rollback`.' },
  FROZEN: {
    actor: 'user',
    http: 409,
    exit: 6,
    hint: 'Wait for the end of the freeze, or give a reason with --override-freeze; rollbacks are not held back.',
  },
  MEDIA_TYPE_UNSUPPORTED: { actor: 'user', http: 415, exit: 2, hint: 'Send JSON as application/json.' },
  ADDRESS_REFUSED: {
    actor: 'user',
    http: 422,
    exit: 2,
    hint: 'Name an address outside of this machine; SHIPLOCK_OUTGOING says what this server may call.',
  },
  RATE_LIMITED: { actor: 'retry', http: 429, exit: 4, hint: 'Wait for the time given in Retry-After.' },
  // ── source
  SOURCE_REFUSED: { actor: 'user', http: 422, exit: 2, hint: 'Use an https, ssh or file URL and a plain branch, tag or commit.' },
  SOURCE_NOT_FOUND: { actor: 'user', http: 422, exit: 3, hint: 'Check the URL and that this server may read it.' },
  REF_NOT_FOUND: { actor: 'user', http: 422, exit: 3, hint: 'Push the branch, tag or commit first, or name another.' },
  SOURCE_UNREACHABLE: { actor: 'retry', http: 503, exit: 4, hint: 'Check the network and try again.' },
  // ── build
  BUILD_FAILED: { actor: 'user', http: 422, exit: 3, hint: 'The log names the command and its output.' },
  BUILD_EMPTY: { actor: 'user', http: 422, exit: 3, hint: 'Check build.deployFiles: no file of the build matches it.' },
  BASE_UNAVAILABLE: { actor: 'user', http: 422, exit: 3, hint: 'Choose a base that this runtime has, or use the docker runtime.' },
  START_FILE_MISSING: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'Make run.start and build.deployFiles agree; `dist/~` cuts `dist` from the paths.',
  },
  START_COMMAND_MISSING: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'Add CMD or ENTRYPOINT to the Dockerfile, or run.start to the configuration.',
  },
  IMAGE_REFUSED: { actor: 'user', http: 422, exit: 2, hint: 'Name an image as registry/name:tag or registry/name@sha256:….' },
  IMAGE_NOT_FOUND: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'Check the name; for a private image set the secret REGISTRY_AUTH of the project.',
  },
  SCAN_BLOCKED: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'Update the packages that are named, or waive them with a reason and an expiry.',
  },
  SECRET_IN_ARTIFACT: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'Keep the secret out of the build, give it to the instances as a variable only, and rotate it; `scan: { secrets: warn }` lets it pass.',
  },
  SCANNER_FAILED: { actor: 'user', http: 503, exit: 4, hint: 'Install Trivy on the server, or set scan.onScannerFailure: warn.' },
  PUBLISH_FAILED: { actor: 'retry', http: 503, exit: 4, hint: 'Check the registry and its credentials.' },
  RELEASE_COMMAND_FAILED: { actor: 'user', http: 422, exit: 3, hint: 'The log has its output; nothing was switched.' },
  // ── run
  LAUNCH_FAILED: { actor: 'user', http: 422, exit: 3, hint: 'The log has the last lines of the instance.' },
  NOT_READY: {
    actor: 'user',
    http: 422,
    exit: 3,
    hint: 'See the attempts and the instance log; raise deploy.readinessCheck.failureTimeout if the start is slow.',
  },
  BAKE_FAILED: { actor: 'user', http: 422, exit: 3, hint: 'The previous version serves again; see the instance log.' },
  DEPLOYMENT_TIMEOUT: { actor: 'user', http: 422, exit: 3, hint: 'The stage named took too long; BUILD_TIMEOUT bounds fetch to verify.' },
  VARIABLE_UNRESOLVED: { actor: 'user', http: 422, exit: 3, hint: 'Set the variable, or correct the reference.' },
  ROLLBACK_UNAVAILABLE: { actor: 'user', http: 409, exit: 6, hint: '`shiplock releases` lists what can be rolled back to.' },
  // ── platform
  RUNTIME_UNAVAILABLE: { actor: 'retry', http: 503, exit: 4, hint: '`shiplock doctor` says what is missing.' },
  ENGINE_UNREACHABLE: {
    actor: 'retry',
    http: 503,
    exit: 4,
    hint: 'Start the container engine, or name it in SHIPLOCK_CONTAINER_ENGINE; `shiplock doctor` says what was tried.',
  },
  EDGE_UNAVAILABLE: { actor: 'retry', http: 503, exit: 4, hint: '`shiplock doctor` says what is missing.' },
  EDGE_FRONT_SILENT: {
    actor: 'retry',
    http: 503,
    exit: 4,
    hint: 'Traefik has not taken over the host name: check its HTTP provider and its address, see docs/drivers.md.',
  },
  EDGE_REFUSED: { actor: 'us', http: 500, exit: 4, hint: 'Please report this with the events of the deployment.' },
  PORT_IN_USE: { actor: 'user', http: 409, exit: 4, hint: 'Stop what listens there, or choose another port in the settings.' },
  DATABASE_UNAVAILABLE: {
    actor: 'retry',
    http: 503,
    exit: 4,
    hint: '`shiplock doctor` says what is missing; DATABASE_URL points at an existing PostgreSQL.',
  },
  SCHEMA_MISMATCH: { actor: 'user', http: 503, exit: 4, hint: 'Run the version of Shiplock that made this database.' },
  SECRET_KEY_REFUSED: {
    actor: 'user',
    http: 503,
    exit: 4,
    hint: 'Put back the key that this database belongs to, for its owner only (mode 0600); docs/secrets.md says where it may come from.',
  },
  DATA_DIRECTORY_LOCKED: {
    actor: 'user',
    http: 409,
    exit: 4,
    hint: 'Another server uses this data directory; stop it or choose another directory.',
  },
  DISK_FULL: {
    actor: 'user',
    http: 507,
    exit: 4,
    hint: 'Free space on the volume of the data directory; `shiplock doctor` shows what uses it.',
  },
  DISK_LIMIT: {
    actor: 'user',
    http: 507,
    exit: 3,
    hint: 'Write less, or elsewhere, or ask whoever runs the server for more; docs/operations.md says what bounds what.',
  },
  SERVER_UNREACHABLE: { actor: 'retry', http: 503, exit: 4, hint: 'Start one with `shiplock server`, or set SHIPLOCK_URL.' },
  FENCED: { actor: 'retry', http: 409, exit: 4, hint: 'Another worker owns this now; nothing was changed.' },
  INTERNAL: { actor: 'us', http: 500, exit: 4, hint: 'Please report this with the server log.' },
} as const satisfies Record<string, ErrorInfo>

export type ErrorCode = keyof typeof ERRORS

/** An error with a place in the table. `details` are facts for machines; never secrets (I8). */
export class ShiplockError extends Error {
  readonly code: ErrorCode
  readonly details: Readonly<Record<string, unknown>>
  /** Replaces the table's hint where the case at hand has a better one. */
  readonly hint: string

  constructor(
    code: ErrorCode,
    message: string,
    options: { details?: Readonly<Record<string, unknown>>; hint?: string; cause?: unknown } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ShiplockError'
    this.code = code
    this.details = options.details ?? {}
    this.hint = options.hint ?? ERRORS[code].hint
  }

  get info(): ErrorInfo {
    return ERRORS[this.code]
  }
}

/** Any thrown thing as a ShiplockError; the unknown becomes INTERNAL, a full disk is named as such. */
export function toShiplockError(error: unknown): ShiplockError {
  if (error instanceof ShiplockError) return error
  const code = (error as { code?: unknown } | null)?.code
  const message = error instanceof Error ? error.message : String(error)
  if (code === 'ENOSPC' || code === 'EDQUOT') return new ShiplockError('DISK_FULL', `no space left: ${message}`, { cause: error })
  return new ShiplockError('INTERNAL', message, { cause: error })
}

export function isShiplockError(error: unknown, code: ErrorCode): error is ShiplockError {
  return error instanceof ShiplockError && error.code === code
}
