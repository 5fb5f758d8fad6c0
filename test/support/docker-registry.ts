import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { removeTree } from '../../src/core/remove-tree.ts'
import { eventually } from './eventually.ts'

/** Debian's `docker-registry`, the reference implementation of the distribution API, on a free port. */
export interface TestRegistry {
  readonly host: string
  readonly port: number
  readonly isRunning: boolean
  log(): string
  /** SIGKILL, as a crash; what it stored stays. */
  kill(): Promise<void>
  start(): Promise<void>
  remove(): Promise<void>
}

const PROGRAM = '/usr/bin/docker-registry'
/** bcrypt of the password, made once: nothing in Node makes one. */
const HTPASSWD = 'shiplock:$2b$04$XlB0zIfgG/lVkzjg5EaxxeQm2sr6BLi/ORI/FW/BDTeXMUeB44rj2\n'
export const REGISTRY_ACCOUNT = { username: 'shiplock', password: 'registry-pass-4711' }

/** Why none can be started here; null when one can. For `context.skip`. */
export function dockerRegistryMissing(): string | null {
  return existsSync(PROGRAM) ? null : 'needs docker-registry'
}

export async function startDockerRegistry(options: { readonly auth?: boolean; readonly address?: string } = {}): Promise<TestRegistry> {
  const registry = new LocalRegistry(options.address ?? '127.0.0.1', options.auth === true, await freePort(options.address ?? '127.0.0.1'))
  await registry.start()
  return registry
}

class LocalRegistry implements TestRegistry {
  readonly host: string
  readonly port: number
  readonly #directory = mkdtempSync('/tmp/slr-')
  #child: ChildProcess | null = null

  constructor(address: string, hasAuth: boolean, port: number) {
    this.port = port
    this.host = `${address}:${port}`
    mkdirSync(join(this.#directory, 'data'))
    writeFileSync(join(this.#directory, 'htpasswd'), HTPASSWD)
    const auth = hasAuth ? { auth: { htpasswd: { realm: 'tests', path: join(this.#directory, 'htpasswd') } } } : {}
    const storage = { filesystem: { rootdirectory: join(this.#directory, 'data') }, delete: { enabled: true } }
    // YAML takes JSON.
    writeFileSync(
      join(this.#directory, 'config.yml'),
      JSON.stringify({ version: '0.1', log: { level: 'info' }, storage, http: { addr: this.host, secret: 'a test' }, ...auth }),
    )
  }

  get isRunning(): boolean {
    return this.#child !== null && this.#child.exitCode === null && this.#child.signalCode === null
  }

  log(): string {
    const file = join(this.#directory, 'log')
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }

  async start(): Promise<void> {
    if (this.isRunning) return
    const config = join(this.#directory, 'config.yml')
    const child = spawn(PROGRAM, ['serve', config], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { PATH: '/usr/bin:/bin', OTEL_TRACES_EXPORTER: 'none' },
    })
    child.stderr.on('data', (chunk: Buffer) => writeFileSync(join(this.#directory, 'log'), chunk, { flag: 'a' }))
    this.#child = child
    await eventually(
      async () => {
        if (!this.isRunning) throw new Error(`docker-registry ended\n${this.log().slice(-2000)}`)
        return [200, 401].includes((await fetch(`http://${this.host}/v2/`)).status)
      },
      { withinMs: 30_000 },
    )
  }

  async kill(): Promise<void> {
    const child = this.#child
    if (child === null || !this.isRunning) return
    const gone = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await gone
  }

  async remove(): Promise<void> {
    await this.kill()
    await removeTree(this.#directory)
  }
}

async function freePort(address: string): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(0, address, resolve))
  const found = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (found === null || typeof found === 'string') throw new Error('no port')
  return found.port
}
