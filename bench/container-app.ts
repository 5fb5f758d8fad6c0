import type { ChildProcess } from 'node:child_process'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { dockerClient, type TestDockerd } from '../test/support/dockerd.ts'
import { SYSTEM_PATH } from '../test/support/test-network.ts'

/** What an app does when it is told to stop: end what it has and go, or nothing, as a Node app that never thought of it. */
export type Manners = 'orderly' | 'deaf'

/** Answers with its version, echoes what is posted. */
const SERVE = `const server = require('http').createServer((q, s) => q.method === 'POST' ? q.pipe(s) : s.end(process.env.VERSION)).listen(8080)`
const APPS: Readonly<Record<Manners, string>> = {
  orderly: `${SERVE}; process.on('SIGTERM', () => server.close(() => process.exit(0)))`,
  deaf: `${SERVE}; process.on('SIGTERM', () => {})`,
}

/** The image of one version. Its HEALTHCHECK is what Swarm waits for; without one it sends requests before the app listens. */
export async function buildVersion(dockerd: TestDockerd, version: string, manners: Manners = 'orderly'): Promise<string> {
  const name = `bench-app:${version}`
  const check = 'HEALTHCHECK --interval=1s --timeout=2s CMD wget -q -O /dev/null http://127.0.0.1:8080/'
  const dockerfile = `FROM node:20-slim\nENV VERSION=${version}\nEXPOSE 8080\n${check}\nCMD ["node", "-e", ${JSON.stringify(APPS[manners])}]\n`
  const built = await dockerd.docker(['build', '--quiet', '--tag', name, '-'], { input: dockerfile })
  if (built.exitCode !== 0) throw new Error(`the image could not be made: ${built.stderrTail.join('\n')}`)
  return name
}

export interface LoadReport {
  readonly requests: number
  readonly lost: number
  readonly firstLost: string | null
  /** Date.now() of the first answer, by version. */
  readonly firstSeen: Readonly<Record<string, number>>
}

/** `rollout-load.mjs` on this host, or in a container of `network`. */
export class RolloutLoad {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  private constructor(child: ChildProcess) {
    this.#child = child
    if (child.stdout === null) throw new Error('no stdout')
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  /** Resolves once every client has had an answer. */
  static async onHost(args: readonly (string | number)[]): Promise<RolloutLoad> {
    const child = spawn(process.execPath, [PROGRAM, ...args.map(String)], { stdio: ['ignore', 'pipe', 'inherit'] })
    return new RolloutLoad(child).#ready()
  }

  static async inNetwork(dockerd: TestDockerd, network: string, args: readonly (string | number)[]): Promise<RolloutLoad> {
    const node = ['node', '--input-type=module', '-', ...args.map(String)]
    const child = spawn(dockerClient(), ['run', '--rm', '-i', '--network', network, 'node:20-slim', ...node], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { PATH: SYSTEM_PATH, HOME: dockerd.directory, DOCKER_HOST: dockerd.host },
    })
    child.stdin?.end(readFileSync(PROGRAM))
    return new RolloutLoad(child).#ready()
  }

  /** The client of Docker passes the signal on. */
  async finish(): Promise<LoadReport> {
    this.#child.kill('SIGTERM')
    return JSON.parse(await this.#line())
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGTERM')
    await once(this.#child, 'exit')
  }

  async #ready(): Promise<RolloutLoad> {
    await this.#line()
    return this
  }

  async #line(): Promise<string> {
    const { value, done } = await this.#lines.next()
    if (done === true) throw new Error('the load ended without a word')
    return value
  }
}

const PROGRAM = resolve('bench/programs/rollout-load.mjs')
