import { type ChildProcess, spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import type { InstalledPackage } from '../../src/store/embedded/binaries.ts'

export interface WriterOptions {
  readonly program: string
  readonly dataDirectory: string
  readonly sharedBase: string
  readonly installed: InstalledPackage
  readonly from?: number
  readonly count?: number
  readonly uid?: number
  readonly gid?: number
  readonly env?: Readonly<Record<string, string>>
}

interface Ready {
  readonly adopted: boolean
  /** Of the postmaster. */
  readonly pid: number
  readonly connection: { readonly socketDirectory: string; readonly user: string; readonly database: string }
  readonly uid: number
}

export interface Writer {
  readonly child: ChildProcess
  /** Resolves when the database is there; rejects with its complaint when it can't be had. */
  readonly ready: Promise<Ready>
  /** Numbers whose commit was acknowledged, so far. */
  readonly acknowledged: readonly number[]
  /** Resolves with all output handed on. */
  readonly ended: Promise<void>
}

/** Runs test/support/programs/database-writer.ts (bundled) as a process of its own. */
export function startWriter(options: WriterOptions): Writer {
  const { program, uid, gid, env, from = 1, count = 0, ...order } = options
  const child = spawn(process.execPath, [program, JSON.stringify({ ...order, from, count })], {
    stdio: ['ignore', 'pipe', 'inherit'],
    cwd: '/',
    env: { ...env },
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
  })
  const acknowledged: number[] = []
  let settle: { resolve: (ready: Ready) => void; reject: (reason: unknown) => void }
  const ready = new Promise<Ready>((resolve, reject) => {
    settle = { resolve, reject }
  })
  ready.catch(() => {})
  const lines = createInterface({ input: child.stdout as NonNullable<ChildProcess['stdout']> })
  lines.on('line', (line) => {
    if (line.startsWith('ack ')) return void acknowledged.push(Number(line.slice(4)))
    const said = JSON.parse(line) as { ready?: Ready; error?: { message: string } }
    if (said.ready !== undefined) settle.resolve(said.ready)
    if (said.error !== undefined) settle.reject(Object.assign(new Error(said.error.message), said.error))
  })
  const ended = new Promise<void>((resolve) => lines.once('close', resolve))
  child.once('exit', (code, signal) => settle.reject(new Error(`the writer ended with ${code ?? signal}`)))
  return { child, ready, acknowledged, ended }
}
