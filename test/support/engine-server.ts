import { randomUUID } from 'node:crypto'
import { systemClock } from '../../src/core/clock.ts'
import type { LogFields, Logger } from '../../src/core/log.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { ServerId } from '../../src/domain/ids.ts'
import type { EngineDependencies } from '../../src/engine/dependencies.ts'
import { Worker } from '../../src/engine/worker.ts'
import type { Drivers } from '../../src/stages/stage.ts'
import { CHANNEL } from '../../src/store/channels.ts'
import type { Database, Queryable } from '../../src/store/database.ts'
import { type DatabaseConnection, openDatabase } from '../../src/store/postgres.ts'
import { registerServer } from '../../src/store/sql/servers.ts'

/** Thrown into whatever a killed server still tries to do. */
export class Killed extends Error {
  constructor() {
    super('this server was killed')
  }
}

/** A place where a server touches the world: `edge.swap`, `db.commit` … */
export interface Step {
  readonly server: TestServer
  readonly name: string
  readonly side: 'before' | 'after'
  /** Of a driver's call; of a commit, the statements of the transaction. */
  readonly args: readonly unknown[]
}

export type StepHook = (step: Step) => void | Promise<void>

export interface ServerParts {
  readonly connection: DatabaseConnection
  readonly drivers: Drivers
  readonly serverId: ServerId
  readonly onStep: StepHook
  readonly dependencies: Pick<EngineDependencies, 'sealer' | 'workDirectory' | 'slots' | 'buildTimeoutMs' | 'resolveVariables'>
}

/** A server in this process: its own database connections and boot, shared drivers. `kill` plays kill -9: nothing it does has effect any more. */
export class TestServer {
  readonly engine: EngineDependencies
  readonly worker: Worker
  readonly problems: string[] = []
  isDead = false
  readonly #real: Database
  readonly #onStep: StepHook
  #unlisten: (() => Promise<void>) | null = null

  constructor(parts: ServerParts) {
    this.#onStep = parts.onStep
    this.#real = openDatabase({ connection: parts.connection, poolMax: 6, logger: silentLogger })
    this.engine = {
      ...parts.dependencies,
      database: this.#mortal(this.#real),
      drivers: this.#tapAll(parts.drivers),
      owner: { serverId: parts.serverId, bootId: randomUUID() },
      clock: systemClock,
      uploads: { list: async () => [], remove: async () => {} },
      logger: this.#logger(),
    }
    this.worker = new Worker(this.engine)
  }

  async register(): Promise<this> {
    await registerServer(this.#real, this.engine.owner, this.engine.owner.serverId)
    return this
  }

  async start(): Promise<this> {
    await this.register()
    this.#unlisten = await this.#real.listen(CHANNEL, (payload) => {
      if (!this.isDead) this.worker.onNotice(payload)
    })
    await this.worker.start()
    return this
  }

  kill(): void {
    this.isDead = true
    // Its loops end; whatever they still try is refused by `#alive`.
    void this.worker.stop()
  }

  /** Of a killed one: only lets go of what the test's process holds for it. */
  async stop(): Promise<void> {
    await this.#unlisten?.()
    await this.worker.stop()
    await this.#real.close()
  }

  async #alive<T>(act: () => Promise<T>): Promise<T> {
    if (this.isDead) throw new Killed()
    const result = await act()
    if (this.isDead) throw new Killed()
    return result
  }

  async #step(name: string, side: Step['side'], args: readonly unknown[] = []): Promise<void> {
    if (this.isDead) throw new Killed()
    await this.#onStep({ server: this, name, side, args })
    if (this.isDead) throw new Killed()
  }

  #mortal(real: Database): Database {
    const queryable = (db: Queryable, statements: string[] = []): Queryable => ({
      query: (text, params, options) => {
        statements.push(text)
        return this.#alive(() => db.query(text, params, options))
      },
    })
    return {
      ...queryable(real),
      transaction: async (work, options) => {
        await this.#step('db.begin', 'before')
        const statements: string[] = []
        const result = await this.#alive(() =>
          real.transaction(async (tx) => {
            const done = await work(queryable(tx, statements))
            await this.#step('db.commit', 'before', statements)
            return done
          }, options),
        )
        await this.#step('db.commit', 'after', statements)
        return result
      },
      listen: (channel, onPayload) => real.listen(channel, onPayload),
      close: () => real.close(),
    }
  }

  #tapAll(drivers: Drivers): Drivers {
    const { recipe, image, dockerfile } = drivers.builders
    return {
      ...drivers,
      sources: {
        ...drivers.sources,
        git: drivers.sources.git && this.#tap('source', drivers.sources.git, ['fetch']),
      },
      builders: { recipe: recipe && this.#tap('builder', recipe, ['build', 'cleanUp']), image, dockerfile },
      artifacts: this.#tap('artifacts', drivers.artifacts, ['put']),
      scanner: this.#tap('scanner', drivers.scanner, ['scan']),
      registry: this.#tap('registry', drivers.registry, ['publish']),
      runtime: this.#tap('runtime', drivers.runtime, ['start', 'stop', 'remove', 'runTask', 'removeTask', 'exec', 'inspect']),
      edge: this.#tap('edge', drivers.edge, ['swap', 'drain', 'hold', 'release', 'remove', 'probe', 'read', 'traffic']),
    }
  }

  /** Passes every call through `onStep`, before and after. */
  #tap<T extends object>(name: string, driver: T, methods: readonly (keyof T & string)[]): T {
    const tapped = new Set<string | symbol>(methods)
    return new Proxy(driver, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target)
        if (typeof value !== 'function') return value
        if (!tapped.has(key)) return value.bind(target)
        return async (...args: unknown[]) => {
          await this.#step(`${name}.${String(key)}`, 'before', args)
          const result: unknown = await value.apply(target, args)
          await this.#step(`${name}.${String(key)}`, 'after', args)
          return result
        }
      },
    })
  }

  #logger(): Logger {
    const note = (message: string, fields?: LogFields) => {
      if (!this.isDead)
        this.problems.push(`${message} ${fields?.error instanceof Error ? (fields.error.stack ?? fields.error.message) : ''}`)
    }
    return { ...silentLogger, error: note, with: () => this.#logger() }
  }
}
