import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '../../src/core/log.ts'
import { type ProcessIdentity, signalProcess } from '../../src/core/process-identity.ts'
import type { InstanceId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { SwapRequest, Target } from '../../src/edge/edge.ts'
import { EmbeddedEdge, type EmbeddedEdgeOptions } from '../../src/edge/embedded/embedded-edge.ts'
import { ensureBuilt } from './build.ts'

export interface EdgeFixture {
  readonly edge: EmbeddedEdge
  readonly directory: string
  readonly port: number
  /** The edge process's own log so far. */
  log(): string
  close(): Promise<void>
}

const open = new Set<EdgeFixture>()

/** A real edge process on a free port in a directory of its own. */
export async function startEdge(options: Partial<EmbeddedEdgeOptions> = {}): Promise<EdgeFixture> {
  ensureBuilt()
  const directory = options.stateDirectory ?? mkdtempSync(join(tmpdir(), 'shiplock-edge-'))
  const edge = new EmbeddedEdge({
    stateDirectory: directory,
    listen: { host: '127.0.0.1', port: 0 },
    workers: 2,
    logger: createLogger('silent'),
    ...options,
  })
  try {
    await edge.ensureRunning()
  } catch (error) {
    rmSync(directory, { recursive: true, force: true })
    throw error
  }
  const fixture: EdgeFixture = {
    edge,
    directory,
    port: (await edge.status()).port,
    log: () => (existsSync(join(directory, 'edge.log')) ? readFileSync(join(directory, 'edge.log'), 'utf8') : ''),
    close: async () => {
      await edge.stop(0)
      // Left by a primary that a test killed, when the test failed before the next one took over.
      for (const orphan of workersOf(directory)) signalProcess(orphan, 'SIGKILL')
      rmSync(directory, { recursive: true, force: true })
      open.delete(fixture)
    },
  }
  open.add(fixture)
  return fixture
}

function workersOf(directory: string): readonly ProcessIdentity[] {
  const file = join(directory, 'workers.json')
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as ProcessIdentity[]) : []
}

/** For `afterEach`: no test leaves an edge behind. */
export async function closeEdges(): Promise<void> {
  await Promise.all([...open].map((fixture) => fixture.close()))
}

export const HOST = 'hello.localhost'
export const ROUTE = 'sen_hello' as ServiceEnvironmentId

/** A swap of the usual test route; `change` overrides. */
export function swapTo(targets: readonly Target[], change: Partial<SwapRequest> = {}): SwapRequest {
  return { routeId: ROUTE, hosts: [HOST], pathPrefix: '', targets, fence: 1, ifGeneration: null, ...change }
}

export function targetOf(instance: string, port: number): Target {
  return { instanceId: `ins_${instance}` as InstanceId, host: '127.0.0.1', port }
}
