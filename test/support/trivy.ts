import { chmodSync, copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const PROGRAM = join(import.meta.dirname, 'programs/trivy-stand-in.mjs')
const REPORTS = join(import.meta.dirname, '../../src/scanner/reports')

type ReportName = 'image' | 'lock-files' | 'installed' | 'clean' | 'nothing-recognised' | 'end-of-life' | 'before-schemas'

/** How the stand-in behaves from its next start on. */
export interface TrivyPlan {
  readonly version?: string
  readonly reports?: Partial<Readonly<Record<'image' | 'fs' | 'rootfs', ReportName>>>
  /** Printed instead of a report. */
  readonly stdout?: string
  readonly stderr?: readonly string[]
  readonly exitCode?: number
  readonly sleepMs?: number
  /** Only this command sleeps. Default: each. */
  readonly sleepsIn?: 'image' | 'fs' | 'rootfs'
  readonly killedBy?: NodeJS.Signals
  readonly databaseAt?: string
  readonly databaseIsDown?: boolean
  /** What its file holds instead of a database. */
  readonly database?: 'truncated' | 'random'
  readonly javaDatabaseIsDown?: boolean
  /** Images have a Java archive; trees have those that lie in them. */
  readonly imageHasJar?: boolean
  /** Commands that end with an error, the others work. */
  readonly failing?: readonly ('image' | 'fs' | 'rootfs')[]
  readonly cacheIsBusy?: boolean
  readonly unknownFlags?: readonly string[]
  /** An image must be known to the engine that DOCKER_HOST names. */
  readonly asksEngine?: boolean
  /** What a Trivy server would ask for. */
  readonly token?: string
}

export interface TrivyCall {
  readonly command: string
  readonly args: readonly string[]
  readonly env: Readonly<Record<string, string>>
  /** What lay in its working directory. */
  readonly cwd: readonly string[]
  readonly pid: number
  readonly at: number
  readonly ended?: string
}

/** A directory with a `trivy` in it that behaves as planned and keeps book of its calls. */
export class TrivyStandIn {
  readonly directory = mkdtempSync('/tmp/sl-trivy-')
  readonly program = join(this.directory, 'trivy')

  constructor(plan: TrivyPlan = {}) {
    chmodSync(this.directory, 0o755)
    copyFileSync(PROGRAM, join(this.directory, 'stand-in.mjs'))
    writeFileSync(this.program, "#!/usr/bin/env node\nimport('./stand-in.mjs')\n", { mode: 0o755 })
    this.plan(plan)
  }

  plan({ reports = {}, ...plan }: TrivyPlan): void {
    const { image = 'image', fs = 'lock-files', rootfs = 'installed' } = reports
    const paths = Object.fromEntries(
      Object.entries({ image, fs, rootfs }).map(([command, name]) => [command, join(REPORTS, `${name}.json`)]),
    )
    writeFileSync(join(this.directory, 'plan.json'), JSON.stringify({ ...plan, reports: paths }))
  }

  /** All calls so far; starts and ends. */
  calls(): TrivyCall[] {
    const file = join(this.directory, 'calls.jsonl')
    if (!existsSync(file)) return []
    return readFileSync(file, 'utf8')
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as TrivyCall)
  }

  /** Those that scanned something. */
  scans(): TrivyCall[] {
    return this.calls().filter((call) => call.ended === undefined && call.command !== 'version')
  }

  forget(): void {
    rmSync(join(this.directory, 'calls.jsonl'), { force: true })
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}
