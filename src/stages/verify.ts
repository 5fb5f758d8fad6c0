import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Instance, ProbeAttempt } from '../domain/deployment.ts'
import { instanceIdFor } from '../domain/ids.ts'
import { configOf } from './build.ts'
import { logTailOf } from './instance-labels.ts'
import { isAdopted, possibleIds, startAndWarn } from './launch.ts'
import { done, type Stage, type StageContext, type StageEvent } from './stage.ts'
import { type Readiness, waitReady } from './wait-ready.ts'

interface Verified {
  readonly instance: Instance
  readonly attempts: readonly ProbeAttempt[]
  readonly events: readonly StageEvent[]
}

/** Readiness check on each instance until it passes. One that does not is replaced, up to `attempts`; then the deployment fails (I2). */
export const verify: Stage = {
  name: 'verify',

  async run(context) {
    context.crashPoint('verify.before')
    const siblings = new AbortController()
    const signal = AbortSignal.any([context.signal, siblings.signal])
    const all = await Promise.allSettled(
      context.instances.map((instance) =>
        verifyOne({ ...context, signal }, instance).catch((error: unknown) => {
          siblings.abort(error)
          throw error
        }),
      ),
    )
    context.signal.throwIfAborted()
    // The one that failed of itself, not those that were aborted because of it.
    if (siblings.signal.aborted) throw siblings.signal.reason
    const verified = all.map((entry) => (entry as PromiseFulfilledResult<Verified>).value)
    context.crashPoint('verify.passed-not-recorded')
    return done(`${verified.length === 1 ? 'the instance is' : 'all instances are'} ready`, {
      instances: verified.map((entry) => entry.instance),
      facts: { attempts: verified.flatMap((entry) => entry.attempts).slice(-LIMITS.probeAttemptsKept) },
      events: verified.flatMap((entry) => entry.events),
    })
  },
}

async function verifyOne(context: StageContext, planned: Instance): Promise<Verified> {
  const check = configOf(context).deploy.readinessCheck
  const attempts: ProbeAttempt[] = []
  const events: StageEvent[] = []
  let instance = await currentOf(context, planned)
  for (let attempt = attemptOf(context, instance); ; attempt++) {
    const readiness = await waitReady(instance, check, { runtime: context.drivers.runtime, clock: context.clock, signal: context.signal })
    attempts.push(...readiness.attempts)
    if (readiness.ready) {
      context.log('engine', `instance ${instance.index} is ready after ${readiness.attempts.length} probes`)
      events.push({
        type: 'instance.ready',
        message: `instance ${instance.index} passed its readiness check`,
        instanceId: instance.id,
        data: { attempt: readiness.attempts.at(-1) },
      })
      return { instance: { ...instance, state: 'ready', address: readiness.address }, attempts, events }
    }
    const tail = await logTailOf(context, instance.id, LIMITS.errorLogTailLines)
    if (attempt + 1 >= check.attempts) throw await notReady(context, instance, readiness, attempts, tail)
    context.log('engine', `instance ${instance.index}: ${readiness.reason}; replaced (${attempt + 2} of ${check.attempts})`)
    events.push({ type: 'instance.replaced', message: readiness.reason, instanceId: instance.id, data: { logTail: tail } })
    instance = await replace(context, instance, attempt + 1)
  }
}

async function notReady(
  context: StageContext,
  instance: Instance,
  readiness: Extract<Readiness, { ready: false }>,
  attempts: readonly ProbeAttempt[],
  logTail: readonly string[],
): Promise<ShiplockError> {
  const findings = await context.drivers.runtime.diagnose(instance.id).catch(() => [])
  for (const finding of findings) context.log('engine', `instance ${instance.index}: ${finding}`)
  const message = [`instance ${instance.index}: ${readiness.reason}`, ...findings].join('; ')
  const code = readiness.overDisk ? 'DISK_LIMIT' : readiness.exited ? 'LAUNCH_FAILED' : 'NOT_READY'
  return new ShiplockError(code, message, { details: { logTail, attempts } })
}

/** Replacements that a crash left are found by their derived ids; the newest that exists is the current one. */
async function currentOf(context: StageContext, planned: Instance): Promise<Instance> {
  if (isAdopted(context, planned)) return planned
  for (const id of possibleIds(context, planned).reverse()) {
    if ((await context.drivers.runtime.inspect(id)).state !== 'missing') return { ...planned, id }
  }
  return planned
}

function attemptOf(context: StageContext, instance: Instance): number {
  return Math.max(0, possibleIds(context, instance).indexOf(instance.id))
}

async function replace(context: StageContext, instance: Instance, attempt: number): Promise<Instance> {
  const { runtime } = context.drivers
  await runtime.stop(instance.id, { timeoutMs: configOf(context).deploy.stopTimeoutMs }, context.fence)
  await runtime.remove(instance.id, context.fence)
  const next: Instance = { ...instance, id: instanceIdFor(context.deployment.id, instance.index, attempt), address: null }
  await startAndWarn(context, next)
  return next
}
