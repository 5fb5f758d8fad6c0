import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GitRepo, writeFiles } from '../test/support/git-repo.ts'
import { freePort } from '../test/support/server.ts'

/** The app that is deployed: no packages, no build, answers with its version and the deployment it belongs to. */
const SERVER = `import { createServer } from 'node:http'
import { readFileSync } from 'node:fs'
const version = readFileSync(new URL('version', import.meta.url), 'utf8').trim()
createServer((request, response) => response.end(version + ' ' + (process.env.SHIPLOCK_DEPLOYMENT ?? ''))).listen(Number(process.env.PORT), '127.0.0.1')
`
const PACKAGE = JSON.stringify({ name: 'bench', version: '1.0.0', type: 'module', scripts: { start: 'node server.js' } })

/** A git repository with the app; each commit is a version. */
export class BenchApp {
  readonly directory: string
  readonly #repo: GitRepo
  readonly #service: string

  constructor(service: string) {
    this.#service = service
    this.directory = mkdtempSync(join(tmpdir(), 'shiplock-bench-app-'))
    this.#repo = new GitRepo(join(this.directory, 'repo'))
  }

  get source() {
    return { kind: 'git', url: `file://${this.directory}/repo`, ref: null }
  }

  /** `service`: what shiplock.yaml says of it; left out = no such file, everything by detection. */
  commit(version: string, service: Readonly<Record<string, unknown>> | null = null): void {
    const config = service === null ? {} : { 'shiplock.yaml': JSON.stringify({ services: { [this.#service]: service } }) }
    this.#repo.commit(version, { 'server.js': SERVER, 'package.json': PACKAGE, version, ...config })
  }

  /** Another commit of the same tree. */
  commitNothing(): void {
    this.#repo.commit('nothing changed', {})
  }

  /** The same app without us: spawned from a directory that is there, asked every 5 ms. Resolves with ms until its first answer. */
  async bareStart(version: string): Promise<number> {
    const directory = join(this.directory, 'bare')
    writeFiles(directory, { 'server.js': SERVER, 'package.json': PACKAGE, version })
    const port = await freePort()
    const started = performance.now()
    const child = spawn('node', ['server.js'], {
      cwd: directory,
      env: { PATH: process.env.PATH ?? '', PORT: String(port) },
      stdio: 'ignore',
    })
    const tookMs = (await firstAnswer({ port, host: '127.0.0.1', from: started, pauseMs: 5 }, (body) => body.startsWith(version))).tookMs
    await end(child)
    return tookMs
  }

  remove(): void {
    rmSync(this.directory, { recursive: true, force: true })
  }
}

export interface Asking {
  /** Default: 127.0.0.1. */
  readonly address?: string
  readonly port: number
  readonly host: string
  /** As `performance.now()`. */
  readonly from: number
  /** Between an answer and the next question. */
  readonly pauseMs: number
}

/** Asks again and again until an answer is the one that is waited for. */
export async function firstAnswer(
  asking: Asking,
  isIt: (body: string) => boolean,
  withinMs = 60_000,
): Promise<{ readonly tookMs: number }> {
  const agent = new Agent({ keepAlive: true })
  try {
    for (;;) {
      const body = await ask(asking, agent).catch(() => '')
      const tookMs = performance.now() - asking.from
      if (isIt(body)) return { tookMs }
      if (tookMs > withinMs) throw new Error(`no such answer within ${withinMs} ms; the last: ${JSON.stringify(body)}`)
      await new Promise((resolve) => setTimeout(resolve, asking.pauseMs))
    }
  } finally {
    agent.destroy()
  }
}

function ask({ address = '127.0.0.1', port, host }: Asking, agent: Agent): Promise<string> {
  return new Promise((resolve, reject) => {
    const question = request({ port, host: address, agent, headers: { host } }, (response) => {
      let body = ''
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        body += chunk
      })
      response.on('end', () => resolve(body))
      response.on('error', reject)
    })
    question.on('error', reject)
    question.end()
  })
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}
