import { type ChildProcess, spawn } from 'node:child_process'
import { builtFile, ensureBuilt } from './build.ts'

export interface CliEnvironment {
  readonly dataDirectory: string
  readonly apiPort: number
  readonly edgePort: number
}

export interface CliResult {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export interface RunningCli {
  readonly child: ChildProcess
  /** What it wrote so far. */
  output(): string
  readonly ended: Promise<CliResult>
}

interface StartOptions {
  readonly env?: Record<string, string>
  readonly cwd?: string
}

/** The built `shiplock`, as a person would run it. */
export function startCli(environment: CliEnvironment, args: readonly string[], options: StartOptions = {}): RunningCli {
  ensureBuilt()
  return startNode(environment, [builtFile('cli/main.ts'), ...args], { cwd: environment.dataDirectory, ...options }, false)
}

/** A script of the repository, with a process group of its own as a terminal gives it. */
export function startScript(environment: CliEnvironment, script: string): RunningCli {
  return startNode(environment, [script], {}, true)
}

function startNode(
  { dataDirectory, apiPort, edgePort }: CliEnvironment,
  args: readonly string[],
  options: StartOptions,
  detached: boolean,
): RunningCli {
  const child = spawn(process.execPath, [...args], {
    cwd: options.cwd,
    detached,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env.PATH ?? '/usr/bin:/bin',
      HOME: dataDirectory,
      SHIPLOCK_DATA_DIR: dataDirectory,
      SHIPLOCK_API_LISTEN: `127.0.0.1:${apiPort}`,
      // A test that wants one names it; the user's is left alone.
      SHIPLOCK_CONTAINER_ENGINE: 'none',
      SHIPLOCK_EDGE_LISTEN: `127.0.0.1:${edgePort}`,
      ...options.env,
    },
  })
  const parts = { stdout: '', stderr: '' }
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    parts.stdout += text
  })
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    parts.stderr += text
  })
  const ended = new Promise<CliResult>((resolve) => child.on('close', (code) => resolve({ code, ...parts })))
  return { child, output: () => parts.stdout + parts.stderr, ended }
}

export function runCli(
  environment: CliEnvironment,
  args: readonly string[],
  options: { readonly env?: Record<string, string>; readonly cwd?: string } = {},
): Promise<CliResult> {
  return startCli(environment, args, options).ended
}
