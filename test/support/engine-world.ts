import { randomBytes } from 'node:crypto'
import { mkdir, mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { randomId } from '../../src/core/random-id.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { Keyring } from '../../src/core/seal.ts'
import type { Deployment, DeploymentOptions, Instance, Trigger } from '../../src/domain/deployment.ts'
import type { Event } from '../../src/domain/event.ts'
import { type DeploymentId, ID_PREFIXES, type InstanceId, type ReleaseId, type ServerId } from '../../src/domain/ids.ts'
import { FakeEdge } from '../../src/edge/fake.ts'
import { createLocalRegistry } from '../../src/registry/local.ts'
import { FakeHost, FakeRuntime } from '../../src/runtimes/fake.ts'
import { createLeakScanner } from '../../src/scanner/leaks.ts'
import type { Scanner } from '../../src/scanner/scanner.ts'
import { createUnavailableScanner } from '../../src/scanner/unavailable.ts'
import type { Drivers } from '../../src/stages/stage.ts'
import { ensureServiceEnvironment, lockServiceEnvironment, type ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { enqueueDeployment, findDeployment, requestCancel } from '../../src/store/sql/deployments.ts'
import { listEvents } from '../../src/store/sql/events.ts'
import { listInstances } from '../../src/store/sql/instances.ts'
import { freshDatabase, type TestDatabase } from './database.ts'
import { type ConfigChanges, testConfig } from './engine-config.ts'
import { type FakeCommit, type FakeRepository, fakeArtifacts, fakeBuilder, fakeConfigReader, fakeSource } from './engine-drivers.ts'
import { type Step, type StepHook, TestServer } from './engine-server.ts'
import { eventually } from './eventually.ts'

export interface WorldOptions {
  /** Used and emptied, not dropped; without it the world has one of its own. */
  readonly test?: TestDatabase
  readonly slots?: number
  readonly buildTimeoutMs?: number
  /** Default: none is there. */
  readonly scanner?: Scanner
}

/** Everything outside of the engine: a real database, one machine with its runtime and edge, and the servers that share them. */
export class World {
  readonly test: TestDatabase
  readonly workDirectory: string
  readonly host = new FakeHost()
  readonly edge = new FakeEdge()
  readonly repository: FakeRepository = new Map()
  readonly builder = fakeBuilder(this.repository)
  readonly artifacts = fakeArtifacts()
  readonly runtime = new FakeRuntime({ host: this.host })
  readonly sealer = new Keyring([randomBytes(32)])
  /** Deployments whose instances fail every check. */
  readonly unready = new Set<DeploymentId>()
  /** What broke I1 or I2. */
  readonly violations: string[] = []
  readonly servers: TestServer[] = []
  hooks: StepHook[] = []
  readonly #ready = new Set<InstanceId>()
  readonly #options: WorldOptions

  constructor(test: TestDatabase, workDirectory: string, options: WorldOptions) {
    this.test = test
    this.workDirectory = workDirectory
    this.#options = options
  }

  get database() {
    return this.test.database
  }

  /** A server; `serverId` of an earlier one plays its restart. */
  server(serverId = randomId<ServerId>(ID_PREFIXES.ServerId)): TestServer {
    const server = new TestServer({
      connection: this.test.connection,
      drivers: this.#drivers(),
      serverId,
      onStep: (step) => this.#onStep(step),
      dependencies: {
        sealer: this.sealer,
        workDirectory: this.workDirectory,
        slots: this.#options.slots ?? 2,
        buildTimeoutMs: this.#options.buildTimeoutMs ?? 60_000,
        resolveVariables: (layers) => Object.assign({}, ...layers.map((layer) => layer.values)),
      },
    })
    this.servers.push(server)
    return server
  }

  async service(name = 'app', project = 'shop'): Promise<ServiceEnvironment> {
    const names = { project, environment: 'production', service: name }
    return this.database.transaction((tx) => ensureServiceEnvironment(tx, names, null, `${name}-${project}.localhost`))
  }

  commit(ref: string, changes: ConfigChanges = {}, more: Omit<FakeCommit, 'config'> = {}): void {
    this.repository.set(ref, { config: testConfig(changes), ...more })
  }

  deploy(target: ServiceEnvironment, ref: string, options: Partial<DeploymentOptions> = {}): Promise<Deployment> {
    return this.#enqueue(target, { kind: 'deploy', ref, rollbackTo: null, options: { ...DEPLOY_OPTIONS, ...options } })
  }

  /** As a webhook deploys. */
  push(target: ServiceEnvironment, ref: string): Promise<Deployment> {
    const trigger: Trigger = { kind: 'webhook', actor: 'a git host', note: null }
    return this.#enqueue(target, { kind: 'deploy', ref, rollbackTo: null, options: DEPLOY_OPTIONS, trigger })
  }

  rollback(target: ServiceEnvironment, to: ReleaseId, options: Partial<DeploymentOptions> = {}): Promise<Deployment> {
    return this.#enqueue(target, {
      kind: 'rollback',
      ref: null,
      rollbackTo: to,
      options: { ...DEPLOY_OPTIONS, variables: 'sealed', ...options },
    })
  }

  cancel(id: DeploymentId): Promise<Deployment> {
    return this.database.transaction((tx) => requestCancel(tx, id, 'somebody'))
  }

  async find(id: DeploymentId): Promise<Deployment> {
    const found = await findDeployment(this.database, id)
    if (found === null) throw new Error(`no deployment ${id}`)
    return found
  }

  settled(id: DeploymentId, withinMs = 15_000): Promise<Deployment> {
    return eventually(
      async () => {
        const found = await this.find(id)
        if (!found.settled) throw new Error(`${id} is ${found.status}, at ${found.stage}: ${found.statusReason}`)
        return found
      },
      { withinMs },
    )
  }

  /** Deploys and waits; rejects unless it ends up running. */
  async live(target: ServiceEnvironment, ref: string): Promise<Deployment> {
    const { id } = await this.deploy(target, ref)
    const ended = await this.settled(id)
    if (ended.status !== 'running') throw new Error(`${ref} ended ${ended.status}: ${ended.statusReason}`)
    return ended
  }

  /** Stops the first call that matches until `open`, or until the signal that it was given aborts, as a real driver would. */
  gate(matches: (step: Step) => boolean | Promise<boolean>): Gate {
    const reached = signal<Step>()
    const opened = signal<void>()
    let isTaken = false
    this.hooks.push(async (step) => {
      if (isTaken || !(await matches(step)) || isTaken) return
      isTaken = true
      reached.resolve(step)
      await unlessAborted(opened.promise, signalOf(step.args))
    })
    return { reached: reached.promise, open: () => opened.resolve() }
  }

  events(deploymentId?: DeploymentId): Promise<Event[]> {
    return listEvents(this.database, { after: 0, limit: 100_000, deploymentId })
  }

  instances(target: ServiceEnvironment): Promise<Instance[]> {
    return listInstances(this.database, target.id)
  }

  async route(target: ServiceEnvironment) {
    return (await this.edge.read()).find((route) => route.id === target.id)
  }

  running(): InstanceId[] {
    return [...this.host.instances].filter(([, instance]) => instance.status.state === 'running').map(([id]) => id)
  }

  /** What the lease of a dead server does after ten seconds. */
  async expireLeases(): Promise<void> {
    await this.database.query(`update leases set expires_at = now() - interval '1 second'`)
  }

  async close(): Promise<void> {
    this.hooks = []
    this.edge.heal()
    for (const server of this.servers) await server.stop()
    if (this.#options.test === undefined) await this.test.drop()
    else await this.database.query('truncate servers, projects, tokens, idempotency_keys, events restart identity cascade')
    await this.host.close()
    await removeTree(this.workDirectory)
  }

  async #enqueue(
    target: ServiceEnvironment,
    request: {
      kind: 'deploy' | 'rollback'
      ref: string | null
      rollbackTo: ReleaseId | null
      options: DeploymentOptions
      trigger?: Trigger
    },
  ): Promise<Deployment> {
    const { kind, ref, rollbackTo, options, trigger = { kind: 'api', actor: 'a test', note: null } } = request
    return this.database.transaction(async (tx) => {
      const fresh = await lockServiceEnvironment(tx, target.id)
      return enqueueDeployment(tx, fresh, {
        kind,
        source: ref === null ? null : { kind: 'git', url: 'https://example.com/app.git', ref },
        rollbackTo,
        trigger,
        options,
      })
    })
  }

  #drivers(): Drivers {
    return {
      sources: { git: fakeSource(this.repository), upload: null, image: null },
      builders: { recipe: this.builder, dockerfile: null, image: null },
      artifacts: this.artifacts,
      runtimeLayers: null,
      leaks: createLeakScanner({ saveImage: async () => null }),
      assembler: null,
      scanner: this.#options.scanner ?? createUnavailableScanner('a test'),
      registry: createLocalRegistry(),
      runtime: this.runtime,
      edge: this.edge,
      config: fakeConfigReader(this.repository),
    }
  }

  async #onStep(step: Step): Promise<void> {
    for (const hook of this.hooks) await hook(step)
    this.#watchTraffic(step)
  }

  /** I1 and I2, at every single call: only instances that passed their check since their start are routed to, never none. */
  #watchTraffic({ name, side, args }: Step): void {
    const id = args[0] as InstanceId
    if (name === 'runtime.exec' && side === 'before') this.host.faults.neverReady = this.unready.has(deploymentOf(this.host, id))
    if (name === 'runtime.exec' && side === 'after' && !this.unready.has(deploymentOf(this.host, id))) this.#ready.add(id)
    if (name === 'runtime.stop' && side === 'before') this.#ready.delete(id)
    if (name === 'edge.swap' && side === 'before') {
      const { targets } = args[0] as { targets: readonly { instanceId: InstanceId }[] }
      if (targets.length === 0) this.violations.push('I1: the edge was told to serve nothing')
      for (const { instanceId } of targets) {
        if (!this.#ready.has(instanceId)) this.violations.push(`I2: ${instanceId} was put on the route without a passed check`)
      }
    }
  }
}

export interface Gate {
  readonly reached: Promise<Step>
  open(): void
}

function signal<T>(): { readonly promise: Promise<T>; resolve(value: T): void } {
  let resolve: (value: T) => void = () => {}
  const promise = new Promise<T>((done) => {
    resolve = done
  })
  return { promise, resolve: (value) => resolve(value) }
}

function signalOf(args: readonly unknown[]): AbortSignal | null {
  const candidates = args.flatMap((arg) => [arg, (arg as { signal?: unknown } | null)?.signal])
  return (candidates.find((candidate) => candidate instanceof AbortSignal) as AbortSignal | undefined) ?? null
}

function unlessAborted(wait: Promise<void>, abort: AbortSignal | null): Promise<void> {
  if (abort === null) return wait
  return new Promise((resolve, reject) => {
    if (abort.aborted) return reject(abort.reason)
    abort.addEventListener('abort', () => reject(abort.reason), { once: true })
    wait.then(resolve, reject)
  })
}

const DEPLOY_OPTIONS: DeploymentOptions = {
  rebuild: false,
  autoRollback: null,
  variables: 'current',
  configPath: null,
  rootDirectory: null,
}

export function deploymentOf(host: FakeHost, id: InstanceId): DeploymentId {
  return (host.instances.get(id)?.spec.labels.deploymentId ?? '') as DeploymentId
}

export async function createWorld(options: WorldOptions = {}): Promise<World> {
  const workDirectory = await mkdtemp(join(tmpdir(), 'shiplock-engine-'))
  await mkdir(join(workDirectory, 'deployments'))
  return new World(options.test ?? (await freshDatabase()), workDirectory, options)
}
