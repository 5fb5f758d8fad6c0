import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { removeTree } from '../../src/core/remove-tree.ts'
import { Collector } from './collector.ts'
import { containerSettings } from './container-sandbox.ts'
import type { TestDockerd } from './dockerd.ts'
import { LoadClient, type LoadOptions } from './load-client.ts'
import { clearContainers, containerPlace, type Place, processPlace } from './place.ts'
import { disposeServers, startTestServer, type TestServer, type TestServerOptions } from './server.ts'
import { StoryRepo } from './story-repo.ts'

const begun = new Set<StoryWorld>()

/** What the stories of one file share: a server, a collector, repositories. `endAll` in `afterAll`. */
export class StoryWorld {
  readonly server: TestServer
  readonly collector: Collector
  readonly directory: string
  readonly #loads: LoadClient[] = []
  /** Of every app. */
  readonly #env: Readonly<Record<string, string>>
  readonly #dockerd: TestDockerd | null

  private constructor(server: TestServer, collector: Collector, dockerd: TestDockerd | null) {
    // In a container: the edge comes from outside of it.
    this.#env = dockerd === null ? {} : { LISTEN: '0.0.0.0' }
    this.#dockerd = dockerd
    this.server = server
    this.collector = collector
    this.directory = mkdtempSync('/tmp/sl-repos-')
  }

  /** `dockerd`: everything runs in containers of that engine. */
  static async begin(options: TestServerOptions = {}, dockerd: TestDockerd | null = null): Promise<StoryWorld> {
    const collector = await Collector.start(dockerd?.network.hostAddress)
    try {
      const env = dockerd === null ? collector.access : await containerSettings(dockerd)
      const server = await startTestServer({ ...options, env: { ...env, ...options.env } })
      const world = new StoryWorld(server, collector, dockerd)
      begun.add(world)
      return world
    } catch (error) {
      await disposeServers()
      await collector.stop()
      throw error
    }
  }

  /** Where its server runs things, for `audit`. */
  get place(): Place {
    return this.#dockerd === null ? processPlace(this.server) : containerPlace(this.server, this.#dockerd)
  }

  /** A fresh repository of the story app, for a service of that name. */
  repo(service: string, directory = service): StoryRepo {
    return new StoryRepo(join(this.directory, directory), service, { ...this.collector.env, ...this.#env })
  }

  /** v1 of a service, live. */
  async serving(service: string): Promise<StoryRepo> {
    const repo = this.repo(service)
    repo.commit('v1')
    await this.server.deployed({ service, source: repo.source })
    return repo
  }

  /** Constant load on a service; resolves once it is answered. */
  async load(service: string, options: Partial<LoadOptions> = {}): Promise<LoadClient> {
    const load = new LoadClient({ port: this.server.edgePort, host: `${service}.localhost`, ...options })
    this.#loads.push(load)
    await load.answers(5)
    return load
  }

  /** Also when some `begin` failed. */
  static async endAll(): Promise<void> {
    for (const world of begun) await world.end()
  }

  async end(): Promise<void> {
    begun.delete(this)
    await Promise.all(this.#loads.map((load) => load.stop()))
    await this.server.kill9()
    if (this.#dockerd !== null) await clearContainers(this.server, this.#dockerd)
    await disposeServers()
    await this.collector.stop()
    await removeTree(this.directory)
  }
}
