import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import type { InstanceId } from '../../src/domain/ids.ts'
import type { Target } from '../../src/edge/edge.ts'

/** A running copy of `edge-app.mjs`. */
export interface EdgeApp {
  readonly version: string
  readonly target: Target
  readonly process: ChildProcess
  /** SIGKILL, and gone when this resolves. */
  kill(): Promise<void>
  /** SIGTERM; resolves when it has ended. */
  terminate(): Promise<void>
}

export interface EdgeAppOptions {
  readonly keepAliveMs?: number
  readonly ignoreTerm?: boolean
  readonly port?: number
}

const alive = new Set<EdgeApp>()

export async function startEdgeApp(version: string, options: EdgeAppOptions = {}): Promise<EdgeApp> {
  const program = join(import.meta.dirname, 'edge-app.mjs')
  const child = spawn(process.execPath, [program, JSON.stringify({ version, ...options })], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const target: Target = { instanceId: `ins_${version}` as InstanceId, host: '127.0.0.1', port: Number(line.toString()) }
  const ended = once(child, 'exit')
  const end = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    await ended
    alive.delete(app)
  }
  const app: EdgeApp = { version, target, process: child, kill: () => end('SIGKILL'), terminate: () => end('SIGTERM') }
  alive.add(app)
  return app
}

/** For `afterEach`: no test leaves a process behind. */
export async function killEdgeApps(): Promise<void> {
  await Promise.all([...alive].map((app) => app.kill()))
}
