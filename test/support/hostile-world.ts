import { copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { expect } from 'vitest'
import { stringify } from 'yaml'
import type { Deployment } from '../../src/contract/deployment.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { Database } from '../../src/store/database.ts'
import { openDatabase } from '../../src/store/postgres.ts'
import type { TestDockerd } from './dockerd.ts'
import { archiveOf, type Outside, outside, untilAtRest } from './outside.ts'
import { StoryWorld } from './story-world.ts'
import { type TcpPostgres, tcpPostgres } from './tcp-postgres.ts'

const APP = join(import.meta.dirname, 'apps/tenant-app.mjs')
const VICTIMS = ['beta', 'gamma'] as const
/** Answers at once, and is nobody. */
const NOWHERE = 'http://127.0.0.1:1/told'

export interface Reply {
  readonly status: number
  readonly text: string
}

/** What stands in a directory that is uploaded: names and contents. */
export type Tree = Readonly<Record<string, string>>

/**
 * A server with three projects. `alpha` is hostile: a developer's token and an app that runs what it is told. `beta` and `gamma` have
 * services in two environments, secrets, webhooks, members, tokens; whatever alpha does, they must be as they were.
 */
export class HostileWorld {
  readonly story: StoryWorld
  readonly database: Database
  /** Whatever of these alpha ever sees, it must not. */
  readonly marks = new Map<string, string>()
  readonly #postgres: TcpPostgres
  readonly #isContainers: boolean
  #eve = ''
  #alphaId = ''
  #trees = 0

  private constructor(story: StoryWorld, database: Database, postgres: TcpPostgres, isContainers: boolean) {
    this.story = story
    this.database = database
    this.#postgres = postgres
    this.#isContainers = isContainers
  }

  static async begin(env: Readonly<Record<string, string>> = {}, dockerd: TestDockerd | null = null): Promise<HostileWorld> {
    const postgres = await tcpPostgres()
    const database = openDatabase({ connection: { url: postgres.url }, poolMax: 2, logger: silentLogger })
    const settings = {
      DATABASE_URL: postgres.url,
      SHIPLOCK_OUTGOING: 'any',
      SHIPLOCK_HEAD_CHECK: '1h',
      SHIPLOCK_SOURCE_REACH: 'private',
      ...env,
    }
    const world = new HostileWorld(await StoryWorld.begin({ env: settings }, dockerd), database, postgres, dockerd !== null)
    await world.#furnish()
    return world
  }

  async end(): Promise<void> {
    await this.database.close()
    await this.story.end()
    await this.#postgres.remove()
  }

  get server() {
    return this.story.server
  }

  /** Developer of alpha. */
  get eve(): string {
    return this.#eve
  }

  async #furnish(): Promise<void> {
    const { server } = this
    for (const name of ['admin-token', 'secret-key']) this.#mark(`the server's ${name}`, join(server.dataDirectory, name))
    this.#mark('the database’s password', null, this.#postgres.password)
    for (const project of VICTIMS) {
      await server.call('POST', '/v1/projects', { name: project })
      await server.call('POST', '/v1/members', { project, name: 'mara', role: 'owner' })
      for (const environment of ['production', 'staging']) await this.#serve(project, environment)
    }
    await server.call('POST', '/v1/projects', { name: 'alpha' })
    await server.call('POST', '/v1/environments', { project: 'alpha', name: 'production' })
    this.#eve = (await server.call('POST', '/v1/tokens', { project: 'alpha', name: 'eve', role: 'developer' })).token
    const [row] = await this.database.query<{ id: string }>(`select id from projects where name = 'alpha'`)
    this.#alphaId = row?.id ?? ''
  }

  async #serve(project: string, environment: string): Promise<void> {
    const { server, story } = this
    await server.api('POST', '/v1/environments', { project, name: environment })
    const secret = `${project}-${environment}-Secret.Value.77`
    const where = { project, environment, service: 'shop' }
    await server.call('PUT', '/v1/variables', { project, environment, secret: true, variables: { PASSWORD: secret } })
    const repo = story.repo('shop', `${project}-${environment}`)
    repo.commit('v1', {}, {}, { 'private.txt': `source of ${project}/${environment} is nobody else's` })
    await server.deployed({ ...where, source: repo.source })
    const hook = await server.call('POST', '/v1/webhooks', {
      ...where,
      provider: 'github',
      repository: repo.source.url,
      checksHeads: false,
    })
    await server.call('POST', '/v1/notification-targets', { project, environment, kind: 'webhook', url: NOWHERE })
    const token = await server.call('POST', '/v1/tokens', { project, environment, name: 'spare', role: 'developer' })
    this.#mark(`a secret of ${project}/${environment}`, null, secret)
    this.#mark(`the source of ${project}/${environment}`, null, `source of ${project}/${environment} is nobody`)
    this.#mark(`the webhook's secret of ${project}/${environment}`, null, hook.secret)
    this.#mark(`a token of ${project}/${environment}`, null, token.token)
  }

  #mark(what: string, path: string | null, text = ''): void {
    this.marks.set(what, path === null ? text : (readFileSync(path, 'utf8').trim().split('\n')[0] ?? ''))
  }

  /** Names of what alpha has got to see of others; empty = nothing. */
  seenIn(text: string): readonly string[] {
    return [...this.marks].filter(([, value]) => value !== '' && text.includes(value)).map(([what]) => what)
  }

  // ── what the others are
  outside(): Promise<Outside> {
    return outside(this.server, this.database, { projectId: this.#alphaId, environmentId: null } as Parameters<typeof outside>[2])
  }

  untilAtRest(): Promise<void> {
    return untilAtRest(this.database)
  }

  /** When each process of the others was started: whoever was ended and started again is another one. */
  async lives(): Promise<Readonly<Record<string, string>>> {
    const lives: Record<string, string> = {}
    for (const project of VICTIMS) {
      for (const host of [`shop-${project}`, `shop-staging-${project}`]) {
        const { status, body } = await this.server.ask(host, '/env')
        lives[host] = `${status} ${JSON.parse(body).SHIPLOCK_INSTANCE} ${this.#isContainers ? '' : JSON.parse(body).PORT}`
      }
    }
    const rows = await this.database.query<{ type: string; count: number }>(
      `select e.type, count(*) as count from events e join projects p on p.id = e.project_id where p.name = any($1) group by 1 order by 1`,
      [[...VICTIMS]],
    )
    return { ...lives, events: JSON.stringify(rows) }
  }

  // ── what eve does
  async send(method: string, path: string, body?: unknown, init: RequestInit = {}): Promise<Reply> {
    const isRaw = body instanceof Blob || typeof body === 'string'
    const type = isRaw ? 'application/gzip' : 'application/json'
    const response = await fetch(`${this.server.apiUrl}${path}`, {
      method,
      headers: { authorization: `Bearer ${this.#eve}`, ...(body === undefined ? {} : { 'content-type': type }) },
      ...(body === undefined ? {} : { body: isRaw ? body : JSON.stringify(body) }),
      ...init,
    })
    return { status: response.status, text: await response.text() }
  }

  /** Uploads it and deploys it to alpha; what the API says, and the deployment once it has settled, if there is one. */
  async deploy(service: string, archive: Blob): Promise<{ readonly replies: readonly Reply[]; readonly deployment: Deployment | null }> {
    const uploaded = await this.send('POST', '/v1/uploads?project=alpha', archive)
    if (uploaded.status !== 201) return { replies: [uploaded], deployment: null }
    const source = { kind: 'upload', digest: JSON.parse(uploaded.text).digest }
    const asked = await this.send('POST', '/v1/deployments', { project: 'alpha', service, source })
    if (asked.status !== 202) return { replies: [uploaded, asked], deployment: null }
    return { replies: [uploaded, asked], deployment: await this.server.settled(JSON.parse(asked.text).id, 120_000) }
  }

  tree(files: Tree): Promise<Blob> {
    const directory = join(this.story.directory, `tree-${++this.#trees}`)
    mkdirSync(directory)
    for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content)
    return archiveOf(directory)
  }

  /** The app that runs what it is told. */
  async appTree(
    service: string,
    run: Readonly<Record<string, unknown>> & { readonly env?: Readonly<Record<string, string>> } = {},
    more: Readonly<Record<string, unknown>> = {},
  ): Promise<Blob> {
    const directory = join(this.story.directory, `app-${++this.#trees}`)
    mkdirSync(directory)
    copyFileSync(APP, join(directory, 'app.mjs'))
    const config = {
      build: { deployFiles: ['./'] },
      run: { start: 'node app.mjs', ...run, env: { ...run.env, ...(this.#isContainers ? { LISTEN: '0.0.0.0' } : {}) } },
      deploy: {
        bake: 0,
        drainTimeout: '1s',
        stopTimeout: '2s',
        readinessCheck: { httpGet: { path: '/' }, failureTimeout: '30s', retryPeriod: '200ms' },
      },
      ...more,
    }
    writeFileSync(join(directory, 'shiplock.yaml'), stringify({ services: { [service]: config } }))
    return archiveOf(directory)
  }

  /** Runs a shell command within alpha's app; all that it printed. */
  inside(command: string, service = 'evil'): Promise<string> {
    return new Promise((resolve) => {
      const options = {
        host: '127.0.0.1',
        port: this.server.edgePort,
        path: '/sh',
        method: 'POST',
        headers: { host: `${service}-alpha.localhost` },
        agent: false,
      }
      const asked = request(options, (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('close', () => resolve(Buffer.concat(chunks).toString('latin1')))
      })
      // An app that ends itself on command answers nothing.
      asked.on('error', (error) => resolve(error.message))
      asked.end(command)
    })
  }

  async logOf(deployment: Deployment): Promise<string> {
    return (await this.server.logLines(deployment.id)).map(({ text }) => text).join('\n')
  }

  /** Where the instances of the others are reached by the edge. */
  async addresses(): Promise<readonly { readonly host: string; readonly port: number }[]> {
    const rows = await this.database.query<{ targets: { host: string; port: number }[] }>(
      `select r.targets from routes r join service_environments se on se.id = r.service_environment_id where se.project_id <> $1`,
      [this.#alphaId],
    )
    return rows.flatMap(({ targets }) => targets.map(({ host, port }) => ({ host, port })))
  }

  /** Directories of the instances of the others, on a server that runs processes. */
  instanceDirectories(): readonly string[] {
    const parent = join(this.server.dataDirectory, 'instances/instances')
    return readdirSync(parent).map((name) => join(parent, name))
  }
}

/** What an attack is measured by: the others are as they were, and were served all the time. */
export class Watch {
  readonly #world: HostileWorld
  readonly #before: Outside
  readonly #lives: Readonly<Record<string, string>>
  readonly #bystander: Bystander

  private constructor(world: HostileWorld, before: Outside, lives: Readonly<Record<string, string>>) {
    this.#world = world
    this.#before = before
    this.#lives = lives
    this.#bystander = new Bystander(world)
  }

  static async begin(world: HostileWorld): Promise<Watch> {
    await world.untilAtRest()
    return new Watch(world, await world.outside(), await world.lives())
  }

  async end(): Promise<void> {
    const before = this.#before
    await this.#world.untilAtRest()
    await this.#bystander.stop()
    expect(this.#bystander.failures).toEqual([])
    expect(this.#bystander.answers).toBeGreaterThan(0)
    // Minutes where it fails; a busy machine takes its time.
    expect(this.#bystander.longestHealthMs).toBeLessThan(10_000)
    const after = await this.#world.outside()
    expect(
      [...after.rows].filter((row) => !before.rows.has(row)),
      'rows of others that came or changed',
    ).toEqual([])
    expect(
      [...before.rows].filter((row) => !after.rows.has(row)),
      'rows of others that went',
    ).toEqual([])
    expect(after.real).toEqual(before.real)
    expect(await this.#world.lives(), 'processes and events of others').toEqual(this.#lives)
  }
}

/** Watches from outside, all the time, that server and others answer. */
class Bystander {
  readonly #world: HostileWorld
  readonly #watching: Promise<unknown>
  #isOver = false
  readonly failures: string[] = []
  answers = 0
  longestHealthMs = 0

  constructor(world: HostileWorld) {
    this.#world = world
    this.#watching = Promise.all([this.#watchHealth(), this.#watchServices()])
  }

  async stop(): Promise<void> {
    this.#isOver = true
    await this.#watching
  }

  async #watchHealth(): Promise<void> {
    while (!this.#isOver) {
      const since = performance.now()
      const status = await fetch(`${this.#world.server.apiUrl}/v1/health`).then(
        (response) => response.arrayBuffer().then(() => response.status),
        (error) => `${error}`,
      )
      this.longestHealthMs = Math.max(this.longestHealthMs, performance.now() - since)
      if (status !== 200) this.failures.push(`health: ${status} after ${Math.round(performance.now() - since)} ms`)
      await pause(50)
    }
  }

  async #watchServices(): Promise<void> {
    while (!this.#isOver) {
      for (const host of ['shop-beta', 'shop-gamma']) {
        const answer = await this.#world.server.ask(host, '/').catch((error) => ({ status: 0, version: `${error}` }))
        this.answers += 1
        if (answer.status !== 200 || answer.version !== 'v1') this.failures.push(`${host}: ${answer.status} ${answer.version}`)
      }
      await pause(20)
    }
  }
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
