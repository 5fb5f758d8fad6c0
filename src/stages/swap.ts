import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Instance, SwapReceipt } from '../domain/deployment.ts'
import type { Route, Target } from '../edge/edge.ts'
import { done, type Stage, type StageContext } from './stage.ts'
import { describeExit } from './wait-ready.ts'

/**
 * The point of no return. The engine runs it inside the transaction that holds the route's row lock and commits its outcome with it:
 * whoever is cut between the edge's acknowledgement and that commit finds the targets on the route and goes on from there (I5).
 */
export const swap: Stage = {
  name: 'swap',

  async run(context) {
    const targets = targetsOf(context.instances)
    context.crashPoint('swap.decided')
    const { generation, flipMs } = await flip(context, targets)
    context.crashPoint('swap.edge-acknowledged')
    const warnings = await probeUntilSeen(context, generation)
    context.crashPoint('swap.probed-not-recorded')
    const gapMs = gapOf(context)
    const gap = gapMs === null ? '' : `; nothing served for ${(gapMs / 1000).toFixed(1)} s (temporaryShutdown), requests waited`
    return done(`${context.host} serves this deployment${gap}`, {
      facts: { generation, receipt: { ...EMPTY_RECEIPT, flipMs, gapMs }, warnings },
      instances: [
        ...context.instances.map((instance) => ({ ...instance, state: 'serving' as const })),
        ...context.others.filter((instance) => instance.state === 'serving').map((instance) => ({ ...instance, state: 'warm' as const })),
      ],
    })
  },
}

const EMPTY_RECEIPT: SwapReceipt = {
  requests: 0,
  failures: 0,
  longestStallMs: 0,
  drainedConnections: 0,
  cutConnections: 0,
  flipMs: 0,
  drainMs: 0,
  gapMs: null,
}

export function targetsOf(instances: readonly Instance[]): Target[] {
  return instances.map((instance) => {
    if (instance.address === null) throw new Error(`instance ${instance.id} has no address`)
    return { instanceId: instance.id, ...instance.address }
  })
}

/** True when the route already sends to exactly these targets. */
export function isOnRoute(route: Route | undefined, targets: readonly Target[]): route is Route {
  const key = (target: Target) => `${target.instanceId} ${target.host}:${target.port}`
  const wanted = new Set(targets.map(key))
  return (
    route !== undefined && !route.held && route.targets.length === wanted.size && route.targets.every((target) => wanted.has(key(target)))
  )
}

async function flip(context: StageContext, targets: readonly Target[]): Promise<{ generation: number; flipMs: number }> {
  const { edge } = context.drivers
  const routeId = context.deployment.serviceEnvironmentId
  const present = (await edge.read()).find((route) => route.id === routeId)
  if (isOnRoute(present, targets)) return { generation: present.generation, flipMs: context.facts.receipt?.flipMs ?? 0 }
  await assertStillRunning(context)
  return edge.swap({ routeId, hosts: [context.host], pathPrefix: '', targets, fence: context.fence, ifGeneration: null })
}

/** Between verify and here the server may have been away; a target that died meanwhile must not go on the route (I2). */
async function assertStillRunning(context: StageContext): Promise<void> {
  for (const instance of context.instances) {
    const status = await context.drivers.runtime.inspect(instance.id)
    if (status.state !== 'running') {
      throw new ShiplockError('LAUNCH_FAILED', `instance ${instance.index} was ready, but ${describeExit(status)} before it took traffic`)
    }
  }
}

/** `running` is said only after the public listener answered from the new generation (DESIGN.md §9.6). Slow answers warn, they don't undo. */
async function probeUntilSeen(context: StageContext, generation: number): Promise<string[]> {
  const deadline = context.clock.monotonic() + LIMITS.publicProbeMs
  let seen = 'no answer'
  for (let pauseMs = 2; context.clock.monotonic() < deadline; pauseMs = Math.min(pauseMs * 2, 200)) {
    try {
      const answer = await context.drivers.edge.probe(context.host, '', AbortSignal.timeout(LIMITS.publicProbeMs))
      if (answer.generation !== null && answer.generation >= generation) return []
      seen = `HTTP ${answer.status} from generation ${answer.generation ?? 'none'}`
    } catch (error) {
      seen = (error as Error).message
    }
    await context.clock.sleep(pauseMs)
  }
  return [`the public listener did not answer from the new version within ${LIMITS.publicProbeMs / 1000} s (last: ${seen})`]
}

function gapOf(context: StageContext): number | null {
  const stoppedAt = context.facts.oldStoppedAt
  return stoppedAt === null ? null : Math.max(0, context.clock.now() - Date.parse(stoppedAt))
}
