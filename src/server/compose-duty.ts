import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import { systemClock } from '../core/clock.ts'
import type { Service } from '../core/service.ts'
import type { EmbeddedEdge } from '../edge/embedded/embedded-edge.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { createGarbageCollector } from '../engine/garbage.ts'
import { HealthMonitor } from '../engine/health-monitor.ts'
import { createSenders } from '../engine/outbox/sender.ts'
import { createReaper } from '../engine/reaper.ts'
import { createReconciler } from '../engine/reconciler.ts'
import { Remover } from '../engine/remover.ts'
import { Scaler } from '../engine/scaler.ts'
import { createDecider } from '../engine/triggers/decider.ts'
import { createHeadChecker, createTriggerUpkeep } from '../engine/triggers/look-at-heads.ts'
import { createPreviewSweep } from '../engine/triggers/sweep-previews.ts'
import { Worker } from '../engine/worker.ts'
import type { SandboxNetworks } from '../sandbox/sandbox.ts'
import { sweepGitRooms } from '../sources/git-room.ts'
import { nextFence } from '../store/sql/leases.ts'
import { buildCacheBytes } from './compose-garbage.ts'
import { composeTriggers } from './compose-hooks.ts'
import { Duty } from './duty.ts'
import { openNotices } from './notices.ts'
import type { OpenEngine } from './open-engine.ts'
import type { Stops } from './stop-order.ts'

/** Everything that happens by itself, in the order in which it begins; one server of a node does it at a time. */
export async function composeDuty(settings: Settings, opened: OpenEngine, stops: Stops) {
  const { engine, front, sandbox, trees, beginContainers, guard } = opened
  const { database, owner, logger } = engine
  const worker = new Worker(engine)
  const notices = await openNotices(database, (payload) => worker.onNotice(payload))
  stops.set('notices', notices.close)
  const sender = {
    ...engine,
    urlOf: (host: string) => front.edge.urlOf(host, ''),
    reach: settings.outgoing,
    gitAuthorities: async () => (settings.gitCaFile === null ? null : readFile(settings.gitCaFile, 'utf8')),
  }
  const triggers = composeTriggers(settings, engine)
  const decider = createDecider(triggers)
  const remover = new Remover(engine)
  notices.subscribe((notice) => {
    if (notice === null || notice.kind === 'delivery') decider.wake()
    if (notice === null || notice.kind === 'removal') remover.wake()
  })
  const ending = new Ending(engine, front.embedded, opened.networks)
  const directory = settings.dataDirectory
  const duty = new Duty({
    ...{ database, owner, clock: systemClock, logger, directory },
    work: [
      ending,
      { start: () => sweepGitRooms(opened.memory, join(directory, 'git'), opened.programs), stop: async () => {} },
      { start: () => sandbox.open(), stop: async () => {} },
      { start: () => trees.open(), stop: async () => trees.close() },
      { start: () => beginContainers(), stop: async () => {} },
      guard,
      { start: () => front.start(), stop: () => front.stop() },
      ...[worker, new HealthMonitor(engine), createReconciler(engine), new Scaler(engine), remover, createReaper(engine)],
      ...[decider, createHeadChecker(triggers), createTriggerUpkeep(triggers), createPreviewSweep(triggers), ...createSenders(sender)],
      createGarbageCollector(engine, buildCacheBytes(settings)),
    ],
  })
  return { duty, ending, notices, sender }
}

/** Stops last of the work, while the node is still this server's alone: nobody starts again what it has just ended. */
class Ending implements Service {
  readonly #engine: EngineDependencies
  readonly #edge: EmbeddedEdge
  readonly #networks: SandboxNetworks
  isOfEverything = false

  constructor(engine: EngineDependencies, edge: EmbeddedEdge, networks: SandboxNetworks) {
    this.#engine = engine
    this.#networks = networks
    this.#edge = edge
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    if (!this.isOfEverything) return
    const { database, drivers, logger } = this.#engine
    await this.#edge.stop().catch((error: unknown) => logger.warn('the edge did not stop cleanly', { error }))
    const running = (await drivers.runtime.list()).filter((entry) => entry.status.state === 'running')
    // The newest fence, and no larger: the next start must still be able to bring them back.
    const fence = await nextFence(database)
    await Promise.allSettled(running.map((entry) => drivers.runtime.stop(entry.id, { timeoutMs: FOREGROUND_STOP_MS }, fence)))
    await this.#networks.end().catch((error: unknown) => logger.warn('the networks of instances were not all removed', { error }))
  }
}
const FOREGROUND_STOP_MS = 5000
