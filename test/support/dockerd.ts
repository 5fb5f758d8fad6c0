import { execFileSync, spawn } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { inject } from 'vitest'
import { type CommandResult, runCommand } from '../../src/core/exec.ts'
import { identify, isAlive, type ProcessIdentity, signalProcess } from '../../src/core/process-identity.ts'
import { bundle } from './bundle.ts'
import { removeDockerd } from './dockerd-removal.ts'
import { eventually } from './eventually.ts'
import { inTurn } from './in-turn.ts'
import { abandonedNetworks, networkOf, openTestNetwork, SYSTEM_PATH, type TestNetwork } from './test-network.ts'

/** A real engine for tests, in a network namespace of its own, so that it never meets the user's. */
export interface TestDockerd {
  /** For DOCKER_HOST: `unix:///…`. */
  readonly host: string
  readonly socket: string
  /** All it has: data root, exec root, socket, log. */
  readonly directory: string
  readonly network: TestNetwork
  /** The Docker CLI against this engine. Resolves whatever the exit code. */
  docker(args: readonly string[], options?: { readonly input?: string | Uint8Array; readonly timeoutMs?: number }): Promise<CommandResult>
  /** As `docker`, its stdout without the last line break. @throws when the command fails */
  dockerText(...args: string[]): Promise<string>
  log(): string
  /** SIGKILL, as a crash. Containers go on until the next start, which stops them unless it has `--live-restore`. */
  kill(): Promise<void>
  /** SIGTERM: ends containers too, unless started with `--live-restore`. */
  stop(): Promise<void>
  start(): Promise<void>
  restart(): Promise<void>
  /** Ends and removes everything. */
  remove(): Promise<void>
}

export interface DockerdOptions {
  /** Further arguments, e.g. `--live-restore`. */
  readonly args?: readonly string[]
}

const PROGRAMS = ['dockerd', 'containerd', 'ip', 'iptables', 'nsenter', 'docker']
const START_MS = 60_000

/** Why no engine can be started here; null when one can. For `context.skip`. */
export function dockerdMissing(): string | null {
  if (process.platform !== 'linux') return 'a private dockerd needs Linux'
  if (process.getuid?.() !== 0) return 'a private dockerd needs root'
  const missing = PROGRAMS.filter((program) => findProgram(program) === null)
  return missing.length === 0 ? null : `a private dockerd needs ${missing.join(', ')}`
}

let shared: Promise<TestDockerd> | null = null

/** The run's one engine: started by the first test that asks, found by the others, removed by global-setup. */
export function sharedDockerd(): Promise<TestDockerd> {
  const { directory, owner } = inject('testDockerd')
  const open = () => (existsSync(join(directory, 'engine.json')) ? adopt(directory) : create(directory, owner, {}))
  shared ??= inTurn(inject('testDatabaseDirectory'), 'test-engine', open)
  return shared
}

/** An engine of the test's own, to be killed and started at will. `remove` it; the end of the test process does it otherwise. */
export function privateDockerd(options: DockerdOptions = {}): Promise<TestDockerd> {
  return create(mkdtempSync('/tmp/sld-'), process.pid, options)
}

/** Debian's client, which knows BuildKit in the engine without a plugin; or the first that is found. */
export function dockerClient(): string {
  return existsSync('/usr/bin/docker') ? '/usr/bin/docker' : (findProgram('docker') ?? 'docker')
}

async function create(directory: string, owner: number, options: DockerdOptions): Promise<TestDockerd> {
  for (const [number, left] of abandonedNetworks()) await removeDockerd(left, number)
  const keeper = await startKeeper(directory, owner)
  try {
    const network = await openTestNetwork({ keeper, directory })
    mkdirSync(join(directory, 'config'))
    writeFileSync(join(directory, 'engine.json'), JSON.stringify({ number: network.number, args: options.args ?? [] }))
    const engine = new PrivateEngine(directory, network, options.args ?? [])
    await engine.start()
    return engine
  } catch (error) {
    await removeDockerd(directory, null)
    throw error
  }
}

async function adopt(directory: string): Promise<TestDockerd> {
  const { number, args } = JSON.parse(readFileSync(join(directory, 'engine.json'), 'utf8'))
  const engine = new PrivateEngine(directory, networkOf(number), args)
  if (!engine.isRunning) await engine.start()
  return engine
}

/** Watches over the owner and cleans up after it, however it ends. */
async function startKeeper(directory: string, owner: number): Promise<ProcessIdentity> {
  mkdirSync(directory, { recursive: true })
  const program = await bundle('programs/dockerd-keeper.ts', join(directory, 'keeper'))
  const child = spawn(process.execPath, [program, directory, String(owner)], { detached: true, stdio: 'ignore', cwd: '/' })
  child.unref()
  const identity = child.pid === undefined ? null : identify(child.pid)
  if (identity === null) throw new Error('the keeper of the test engine did not start')
  return identity
}

class PrivateEngine implements TestDockerd {
  readonly directory: string
  readonly network: TestNetwork
  readonly #args: readonly string[]

  constructor(directory: string, network: TestNetwork, args: readonly string[]) {
    this.directory = directory
    this.network = network
    this.#args = args
  }

  get socket(): string {
    return join(this.directory, 'docker.sock')
  }

  get host(): string {
    return `unix://${this.socket}`
  }

  get isRunning(): boolean {
    return this.#identity('daemon') !== null
  }

  async docker(args: readonly string[], options: { readonly input?: string | Uint8Array; readonly timeoutMs?: number } = {}) {
    const env = { PATH: SYSTEM_PATH, HOME: this.directory, DOCKER_HOST: this.host, DOCKER_BUILDKIT: '1' }
    return runCommand(dockerClient(), args, { env, timeoutMs: 120_000, ...options })
  }

  async dockerText(...args: string[]): Promise<string> {
    const result = await this.docker(args)
    if (result.exitCode !== 0) throw new Error(`docker ${args.join(' ')}: ${result.exitCode}\n${result.stderrTail.join('\n')}`)
    return result.stdout.trimEnd()
  }

  log(): string {
    const file = join(this.directory, 'dockerd.log')
    return existsSync(file) ? readFileSync(file, 'utf8') : ''
  }

  async start(): Promise<void> {
    if (this.isRunning) return
    const { network, directory } = this
    const log = openSync(join(directory, 'dockerd.log'), 'a')
    const args = [
      `--net=/run/netns/${network.namespace}`,
      findProgram('dockerd') ?? 'dockerd',
      ...['--data-root', join(directory, 'data'), '--exec-root', join(directory, 'exec'), '--pidfile', join(directory, 'dockerd.pid')],
      ...['-H', this.host, '--config-file', join(directory, 'config', 'daemon.json')],
      ...['--default-address-pool', `base=${network.containerSubnet},size=28`, '--bip', network.bridgeAddress],
      ...['--exec-opt', 'native.cgroupdriver=cgroupfs', '--cgroup-parent', `shiplock-test-${network.number}`],
      ...this.#args,
    ]
    // Registries of tests listen on the host's side of the network, without TLS.
    writeFileSync(join(directory, 'config', 'daemon.json'), JSON.stringify({ 'insecure-registries': ['10.213.0.0/16'] }))
    const child = spawn('nsenter', args, {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: { PATH: SYSTEM_PATH, HOME: directory },
    })
    child.unref()
    const identity = child.pid === undefined ? null : identify(child.pid)
    if (identity === null) throw new Error(`dockerd did not start\n${this.log().slice(-3000)}`)
    writeFileSync(join(directory, 'daemon.json'), JSON.stringify(identity))
    await eventually(() => this.#ping(identity), { withinMs: START_MS })
    this.#openForward()
  }

  async kill(): Promise<void> {
    await this.#end('SIGKILL')
  }

  async stop(): Promise<void> {
    await this.#end('SIGTERM')
  }

  async restart(): Promise<void> {
    await this.stop()
    await this.start()
  }

  async remove(): Promise<void> {
    await removeDockerd(this.directory, this.network.number)
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const identity = this.#identity('daemon')
    const pidFile = join(this.directory, 'exec', 'containerd', 'containerd.pid')
    const containerd = readPid(pidFile)
    if (identity !== null) signalProcess(identity, signal)
    await eventually(() => (identity === null || !isAlive(identity)) && (containerd === null || !isAlive(containerd)), { withinMs: 30_000 })
    // Where nobody reaps orphans, the next daemon would take its zombie for a containerd to talk to.
    rmSync(pidFile, { force: true })
  }

  #identity(name: 'daemon'): ProcessIdentity | null {
    const file = join(this.directory, `${name}.json`)
    if (!existsSync(file)) return null
    const identity: ProcessIdentity = JSON.parse(readFileSync(file, 'utf8'))
    return isAlive(identity) ? identity : null
  }

  async #ping(identity: ProcessIdentity): Promise<void> {
    if (!isAlive(identity)) throw new Error(`dockerd has ended\n${this.log().slice(-3000)}`)
    const status = await new Promise<number | undefined>((resolve, reject) => {
      const asked = request({ socketPath: this.socket, path: '/_ping' }, (response) => {
        response.resume()
        resolve(response.statusCode)
      })
      asked.on('error', reject)
      asked.end()
    })
    if (status !== 200) throw new Error(`dockerd answers ${status}\n${this.log().slice(-3000)}`)
  }

  /** The host reaches containers by their own address. */
  #openForward(): void {
    const { namespace, innerInterface } = this.network
    for (const direction of ['-i', '-o']) {
      const rule = ['DOCKER-USER', direction, innerInterface, '-j', 'ACCEPT']
      const iptables = (verb: string) =>
        execFileSync('nsenter', [`--net=/run/netns/${namespace}`, 'iptables', '-w', verb, ...rule], {
          env: { PATH: SYSTEM_PATH },
          stdio: 'ignore',
        })
      try {
        iptables('-C')
      } catch {
        iptables('-I')
      }
    }
  }
}

function readPid(file: string): ProcessIdentity | null {
  return existsSync(file) ? identify(Number(readFileSync(file, 'utf8'))) : null
}

function findProgram(name: string): string | null {
  const directories = [...SYSTEM_PATH.split(':'), dirname(process.execPath)]
  const found = directories.find((directory) => existsSync(join(directory, name)))
  return found === undefined ? null : join(found, name)
}
