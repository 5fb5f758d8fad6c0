import { access, constants, mkdir } from 'node:fs/promises'
import { delimiter, isAbsolute, join } from 'node:path'
import type { Clock } from '../core/clock.ts'
import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { type CommandResult, runCommand } from '../core/exec.ts'
import { LIMITS } from '../core/limits.ts'
import { createRedactor } from '../core/redact.ts'
import type { ScanReport } from '../domain/scan-report.ts'
import { clearWork, noteRunning } from './left-running.ts'
import type { Scanner, ScannerHealth, ScanRequest, ScanRules } from './scanner.ts'
import {
  argumentsOf,
  environmentOf,
  imageTarget,
  type RunVariant,
  type TrivyOptions,
  type TrivyTarget,
  targetInWords,
  treeTargets,
} from './trivy-command.ts'
import { canGoOnWithOldDatabase, explainFailure, isCacheBusy, isJavaDatabaseMissing, LastWords, plainLine } from './trivy-failure.ts'
import { mergeFindings, parseTrivyReport, type TrivyFindings } from './trivy-report.ts'
import { checkTrivyServer } from './trivy-server.ts'
import { databaseHealth, parseVersion, type Version } from './trivy-version.ts'
import { withTurn } from './turn.ts'

export interface TrivyScannerOptions extends TrivyOptions {
  readonly rules: ScanRules
  readonly clock: Clock
  /** A report may be large, and what it holds is not ours: the server reads it in another thread. Default: here. */
  readonly readReport?: (text: string) => Promise<TrivyFindings>
}

const INSTALL_HINT =
  'Install Trivy on the server (https://trivy.dev/docs/latest/getting-started/installation/), or name it with SHIPLOCK_TRIVY. Without it: scan: { onScannerFailure: warn } in the service, or SHIPLOCK_SCAN_WITHOUT_SCANNER=warn for the whole server.'
/** Releases that were not Aqua's: GHSA-69fq-xp46-6x23. */
const MALICIOUS = ['0.69.4', '0.69.5', '0.69.6']

/** Where Trivy stands and has its temporary files: nothing of the app, and nothing of ours. */
const ROOM = 'room'

/** Scans with Trivy, https://trivy.dev. The program is looked for at every use, so that installing it needs no restart. */
export function createTrivyScanner(options: TrivyScannerOptions): Scanner {
  const missing = async () => ((await findProgram(options)) === null ? whatIsMissing(options) : null)
  return {
    name: 'trivy',
    rules: options.rules,
    missing,
    check: (signal) => check(options, signal),
    scan: async (request) => {
      const program = await findProgram(options)
      if (program === null) throw new ShiplockError('SCANNER_FAILED', whatIsMissing(options), { hint: INSTALL_HINT })
      await clearWork(request.workDirectory)
      await mkdir(join(request.workDirectory, ROOM), { recursive: true, mode: 0o700 })
      try {
        return await inTurn(options, request, () => scan(new Trivy(program, options, request)))
      } finally {
        await clearWork(request.workDirectory)
      }
    },
    cleanUp: clearWork,
  }
}

/** Where another Trivy keeps the databases and caches, nobody needs to wait. */
function inTurn<Result>(options: TrivyScannerOptions, request: ScanRequest, work: () => Promise<Result>): Promise<Result> {
  if (options.server !== null) return mkdir(options.cacheDirectory, { recursive: true, mode: 0o700 }).then(work)
  const onWait = () => request.onLine('waiting for another scan on this host to end')
  return withTurn(options.cacheDirectory, { clock: options.clock, signal: request.signal, onWait }, work)
}

async function scan(trivy: Trivy): Promise<ScanReport> {
  const before = await trivy.version()
  refuseMalicious(before.version)
  const { request, options } = trivy
  const runs: TrivyFindings[] = []
  const failures: ShiplockError[] = []
  for (const target of await targetsOf(request, options)) {
    try {
      runs.push(await trivy.run(target))
    } catch (error) {
      request.signal.throwIfAborted()
      if (!isShiplockError(error, 'SCANNER_FAILED')) throw error
      // What the other runs find is as true as without this failure: it is kept and judged, and the report says what it lacks.
      failures.push(error)
      trivy.gaps.push(`${targetInWords(target)} (${error.message})`)
    }
  }
  if (runs.length === 0 && failures[0] !== undefined) throw failures[0]
  // After the runs: the first of them may have fetched a newer database.
  const { version, databaseAt } = await trivy.version().catch(() => before)
  const now = options.clock.now()
  const notes = [...trivy.notes, ...ageNote(databaseAt, now)]
  return mergeFindings(runs, { version, databaseAt, scannedAt: new Date(now).toISOString(), notes, gaps: trivy.gaps })
}

async function targetsOf(
  { artifact, artifactDirectory, layerDirectory, signal }: Trivy['request'],
  { engine }: TrivyOptions,
): Promise<TrivyTarget[]> {
  if (artifact.kind === 'image') {
    const target = imageTarget(artifact, engine === null ? null : await engine.findImage(artifact, signal))
    if (target !== null) return [target]
    const where = engine === null ? 'no container engine is in use here' : 'the container engine does not have it'
    throw new ShiplockError('SCANNER_FAILED', `there is no image ${artifact.digest} to scan: ${where}`)
  }
  if (artifactDirectory === null) throw new Error('a tree without its directory can not be scanned')
  return treeTargets(artifactDirectory, layerDirectory)
}

/** One scan: its runs share what was learnt on the way. */
class Trivy {
  readonly options: TrivyScannerOptions
  /** Without a work directory only the version can be asked for. */
  readonly request: Omit<ScanRequest, 'workDirectory'> & { readonly workDirectory: string | null }
  readonly notes: string[] = []
  /** What could not be looked into, and why. */
  readonly gaps: string[] = []
  readonly #program: string
  readonly #endsAt: number
  readonly #redact: (line: string) => string
  #variant: RunVariant = { inMemory: false, skipUpdate: false, skipJava: false }

  constructor(program: string, options: TrivyScannerOptions, request: Trivy['request']) {
    this.#program = program
    this.options = options
    this.request = request
    // All runs of a scan share its time: Trivy's own --timeout is for one, and `fs` does not keep to it.
    this.#endsAt = performance.now() + options.timeoutMs
    this.#redact = createRedactor(options.server?.token == null ? [] : [options.server.token])
  }

  async run(target: TrivyTarget): Promise<TrivyFindings> {
    const leftMs = this.#endsAt - performance.now()
    if (leftMs <= 0)
      throw new ShiplockError('SCANNER_FAILED', `not begun: the ${this.options.timeoutMs / 1000} s for the scan were over`, RAISE)
    const { result, tail } = await this.#exec(argumentsOf(target, this.options, this.#variant, leftMs), leftMs)
    if (result.exitCode === 0 && !result.timedOut) return this.#read(result)
    if (!result.timedOut && isCacheBusy(tail) && !this.#variant.inMemory) {
      this.#variant = { ...this.#variant, inMemory: true }
      this.request.onLine('another process holds the layer cache: scanning without it')
      return this.run(target)
    }
    if (!result.timedOut && canGoOnWithOldDatabase(tail) && !this.#variant.skipUpdate && (await this.version()).databaseAt !== null) {
      this.#variant = { ...this.#variant, skipUpdate: true }
      this.notes.push('the vulnerability database could not be brought up to date; the one that was there was used')
      this.request.onLine('the database could not be fetched: scanning with the one that is there')
      return this.run(target)
    }
    const failure = explainFailure(result, tail, this.options.timeoutMs)
    if (!result.timedOut && isJavaDatabaseMissing(tail) && !this.#variant.skipJava) {
      this.#variant = { ...this.#variant, skipJava: true }
      this.request.onLine('the Java database is not there: scanning without Java archives')
      const rest = await this.run(target)
      this.gaps.push(`Java archives (${failure.message})`)
      return rest
    }
    throw failure
  }

  async version(): Promise<Version> {
    const args = ['version', '--format', 'json', '--cache-dir', this.options.cacheDirectory]
    const { result, tail } = await this.#exec(args, VERSION_MS)
    if (result.exitCode !== 0) throw explainFailure(result, tail, VERSION_MS)
    return parseVersion(result.stdout)
  }

  async #read(result: CommandResult): Promise<TrivyFindings> {
    if (Buffer.byteLength(result.stdout) >= LIMITS.scanReportBytes) {
      throw new ShiplockError('SCANNER_FAILED', `trivy's report is larger than ${LIMITS.scanReportBytes / 1024 ** 2} MiB`)
    }
    const { readReport } = this.options
    return readReport === undefined ? parseTrivyReport(result.stdout) : readReport(result.stdout)
  }

  async #exec(args: readonly string[], timeoutMs: number): Promise<{ readonly result: CommandResult; readonly tail: readonly string[] }> {
    const { signal, workDirectory, onLine } = this.request
    const room = workDirectory === null ? '/' : join(workDirectory, ROOM)
    const words = new LastWords()
    const result = await runCommand(this.#program, args, {
      // Trivy reads trivy.yaml and .trivyignore from where it stands, and must not find the app's.
      cwd: room,
      env: environmentOf(this.options, room),
      ...(workDirectory === null ? {} : { onSpawn: (pid) => noteRunning(workDirectory, pid) }),
      timeoutMs,
      signal,
      stdoutBytesMax: LIMITS.scanReportBytes,
      onLine: (line, stream) => {
        if (stream !== 'stderr') return
        words.hear(line)
        onLine(this.#redact(plainLine(line)))
      },
    }).catch((error: unknown) => {
      signal.throwIfAborted()
      throw new ShiplockError('SCANNER_FAILED', (error as Error).message, { hint: INSTALL_HINT, cause: error })
    })
    if (result.aborted) signal.throwIfAborted()
    return { result, tail: words.of(result).map(this.#redact) }
  }
}
const RAISE = { hint: 'Raise SHIPLOCK_SCAN_TIMEOUT.' } as const
const VERSION_MS = 30_000

async function check(options: TrivyScannerOptions, signal: AbortSignal): Promise<ScannerHealth> {
  const program = await findProgram(options)
  if (program === null) return { ok: false, summary: `no vulnerability scanner: ${whatIsMissing(options)}`, hint: INSTALL_HINT }
  const request = { ...NO_ARTIFACT, workDirectory: null, onLine: () => {}, signal }
  try {
    const version = await new Trivy(program, options, request).version()
    refuseMalicious(version.version)
    const { ok, summary, hint } =
      options.server === null ? databaseHealth(version, options, options.clock.now()) : await checkTrivyServer(options.server, signal)
    return { ok, summary: `Trivy ${version.version ?? ''} (${program}), ${summary}`, hint }
  } catch (error) {
    const hint = error instanceof ShiplockError ? error.hint : null
    return { ok: false, summary: `${program}: ${(error as Error).message}`, hint }
  }
}
const NO_ARTIFACT = {
  artifact: { kind: 'tree', digest: '' as never, files: 0, bytes: 0 },
  artifactDirectory: null,
  layerDirectory: null,
} as const

function ageNote(databaseAt: string | null, now: number): string[] {
  if (databaseAt === null || now - Date.parse(databaseAt) <= LIMITS.scanDatabaseAgeMs) return []
  return [`the vulnerability database is ${Math.floor((now - Date.parse(databaseAt)) / 86_400_000)} days old, newer findings are missing`]
}

function refuseMalicious(version: string | null): void {
  if (version === null || !MALICIOUS.includes(version.replace(/^v/, ''))) return
  throw new ShiplockError('SCANNER_FAILED', `Trivy ${version} is one of the malicious releases of March 2026 (GHSA-69fq-xp46-6x23)`, {
    hint: 'Remove it, treat every secret that this host held as known to others, and install a current release.',
  })
}

async function findProgram({ program, searchPath }: TrivyOptions): Promise<string | null> {
  const candidates =
    program === null
      ? searchPath
          .split(delimiter)
          .filter(isAbsolute)
          .map((directory) => join(directory, 'trivy'))
      : [program]
  for (const candidate of candidates) {
    const isThere = await access(candidate, constants.X_OK).then(
      () => true,
      () => false,
    )
    if (isThere) return candidate
  }
  return null
}

function whatIsMissing({ program }: TrivyOptions): string {
  return program === null ? 'trivy is not in PATH' : `there is no program at ${program} (SHIPLOCK_TRIVY)`
}
