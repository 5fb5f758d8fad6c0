import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Instance } from '../domain/deployment.ts'
import { instanceIdFor, makerOf } from '../domain/ids.ts'
import type { InstanceStatus } from '../runtimes/runtime.ts'
import { configOf } from './build.ts'
import { logTailOf } from './instance-labels.ts'
import { done, type Stage, type StageContext, type StageEvent } from './stage.ts'
import { describeInitFailures, startInstance } from './start-instance.ts'
import { describeExit, isOverDisk, waitReady } from './wait-ready.ts'

/**
 * Starts the planned instances beside the live ones, in parallel. Their rows were written when the stage was entered, so nothing real
 * is ever without a row. Warm or standby instances of the same release were adopted by that plan and are merely started again.
 */
export const launch: Stage = {
  name: 'launch',

  async run(context) {
    context.crashPoint('launch.before')
    const oldStoppedAt = await stopOldFirst(context)
    const started = await Promise.all(context.instances.map((instance) => start(context, instance)))
    context.crashPoint('launch.started-not-recorded')
    return done(`${started.length} ${started.length === 1 ? 'instance' : 'instances'} started`, {
      instances: started.map((entry) => entry.instance),
      events: started.map((entry) => entry.event),
      facts: { oldStoppedAt, warnings: started.flatMap((entry) => entry.warnings) },
    })
  },

  async undo(context) {
    await Promise.all(context.instances.map((instance) => discard(context, instance)))
    await startOldAgain(context)
  },
}

interface Started {
  readonly instance: Instance
  readonly event: StageEvent
  readonly warnings: readonly string[]
}

async function start(context: StageContext, instance: Instance): Promise<Started> {
  const { status, warnings } = await startAndWarn(context, instance)
  if (status.state !== 'running') {
    const tail = await logTailOf(context, instance.id, LIMITS.errorLogTailLines)
    const code = isOverDisk(status) ? 'DISK_LIMIT' : 'LAUNCH_FAILED'
    throw new ShiplockError(code, `${describeExit(status)} right after its start`, { details: { logTail: tail } })
  }
  const message = `instance ${instance.index} started on ${status.address.host}:${status.address.port}`
  context.log('engine', message)
  return {
    instance: { ...instance, state: 'starting', address: status.address },
    event: { type: 'instance.started', message, instanceId: instance.id, data: { address: status.address } },
    warnings,
  }
}

/** Starts it; what its init commands had to say is shown, whether or not their failure matters. */
export async function startAndWarn(context: StageContext, instance: Instance): Promise<{ status: InstanceStatus; warnings: string[] }> {
  const { runtime } = context.drivers
  const spec = await context.specOf(instance)
  const check = configOf(context).deploy.readinessCheck
  try {
    const status = await startInstance(runtime, spec, { check, fence: context.fence, signal: context.signal })
    const warnings = describeInitFailures(instance.index, status, spec.initCommands)
    for (const warning of warnings) context.log('engine', warning)
    if (warnings.length > 0)
      for (const line of await logTailOf(context, instance.id, INIT_LINES)) context.log('instance', line, instance.id)
    return { status, warnings }
  } catch (error) {
    if (!isShiplockError(error, 'LAUNCH_FAILED')) throw error
    const logTail = await logTailOf(context, instance.id, LIMITS.errorLogTailLines)
    throw new ShiplockError('LAUNCH_FAILED', `instance ${instance.index}: ${error.message}`, { hint: error.hint, details: { logTail } })
  }
}
const INIT_LINES = 20

/** Ids of every replacement that verify may have made for this copy: derived, so found again after a crash. */
export function possibleIds(context: StageContext, instance: Instance): Instance['id'][] {
  const derived = Array.from({ length: configOf(context).deploy.readinessCheck.attempts }, (_, attempt) =>
    instanceIdFor(context.deployment.id, instance.index, attempt),
  )
  return [...new Set([instance.id, ...derived])]
}

async function discard(context: StageContext, instance: Instance): Promise<void> {
  const { runtime } = context.drivers
  for (const id of possibleIds(context, instance)) {
    await runtime.stop(id, { timeoutMs: configOf(context).deploy.stopTimeoutMs }, context.fence)
    // An adopted instance goes back to where it was taken from: standby, for the next rollback.
    if (!isAdopted(context, { id })) await runtime.remove(id, context.fence)
  }
}

/** Adopted: made by an earlier deployment, taken over by this rollback. */
export function isAdopted(context: Pick<StageContext, 'deployment'>, instance: Pick<Instance, 'id'>): boolean {
  return makerOf(instance.id) !== context.deployment.id
}

/** `temporaryShutdown: true`: the edge holds new requests, the old instances finish theirs and stop. ISO time of the stop, else null. */
async function stopOldFirst(context: StageContext): Promise<string | null> {
  const config = configOf(context).deploy
  const old = context.others.filter((instance) => instance.state === 'serving')
  if (!config.temporaryShutdown || old.length === 0) return null
  const { edge, runtime } = context.drivers
  const routeId = context.deployment.serviceEnvironmentId
  context.log('engine', 'temporaryShutdown: the edge holds new requests while the old instances stop')
  await edge.hold(routeId, { maxMs: LIMITS.holdMs, fence: context.fence })
  const ids = old.map((instance) => instance.id)
  await edge.drain(routeId, ids, { timeoutMs: config.drainTimeoutMs, fence: context.fence })
  await Promise.all(ids.map((id) => runtime.stop(id, { timeoutMs: config.stopTimeoutMs }, context.fence)))
  context.crashPoint('swap.old-stopped')
  return context.facts.oldStoppedAt ?? new Date(context.clock.now()).toISOString()
}

/** The way back of `stopOldFirst`: the old instances run and are ready again before the hold ends (I1). */
async function startOldAgain(context: StageContext): Promise<void> {
  if (context.facts.config === null || !configOf(context).deploy.temporaryShutdown) return
  const { edge, runtime } = context.drivers
  const routeId = context.deployment.serviceEnvironmentId
  const old = context.others.filter((instance) => instance.state === 'serving')
  if (old.length === 0) return
  const targets = await Promise.all(
    old.map(async (instance) => {
      const status = await runtime.start(await context.specOf(instance), context.fence, AbortSignal.timeout(LIMITS.holdMs))
      if (status.state !== 'running')
        throw new ShiplockError('LAUNCH_FAILED', `the old instance ${instance.index} did not start again: ${describeExit(status)}`)
      const readiness = await waitReady(instance, await context.readinessOf(instance), {
        runtime,
        clock: context.clock,
        signal: AbortSignal.timeout(LIMITS.holdMs),
      })
      if (!readiness.ready) throw new ShiplockError('NOT_READY', `the old instance ${instance.index}: ${readiness.reason}`)
      return { instanceId: instance.id, ...readiness.address }
    }),
  )
  await edge.swap({ routeId, hosts: [context.host], pathPrefix: '', targets, fence: context.fence, ifGeneration: null })
}
