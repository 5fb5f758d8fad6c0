import { LIMITS } from '../core/limits.ts'
import type { HealthCheck } from '../domain/service-config.ts'
import { configOf } from './build.ts'
import { probeOnce } from './probe.ts'
import { done, type Stage, type StageContext, skipped } from './stage.ts'
import { describeExit } from './wait-ready.ts'

/** Watches the new version while the old instances stay warm. Trouble is an outcome, not an error: the engine swaps back. */
export const bake: Stage = {
  name: 'bake',

  async run(context) {
    context.crashPoint('bake.before')
    const { bakeMs, autoRollback } = configOf(context).deploy
    if (bakeMs === 0) return skipped('bake: 0')
    if (!(context.deployment.options.autoRollback ?? autoRollback)) return skipped('autoRollback: false')
    if (!context.others.some((instance) => instance.state === 'warm')) return skipped('there is no earlier version to swap back to')
    // A long drain may have used up all of the time: one look is taken even then.
    const left = bakeMs - context.sinceSwapMs()
    const trouble = (await presentTrouble(context)) ?? (left > 0 ? await watch(context, left) : null)
    if (trouble === null) return done(`watched for ${bakeMs / 1000} s`)
    context.crashPoint('bake.trouble-not-recorded')
    return { kind: 'trouble', reason: trouble }
  },
}

async function presentTrouble(context: StageContext): Promise<string | null> {
  for (const instance of context.instances) {
    const status = await context.drivers.runtime.inspect(instance.id)
    if (status.state !== 'running') return describeExit(status)
  }
  return burst(context)
}

/** The first trouble within `ms`; null when there was none. */
async function watch(context: StageContext, ms: number): Promise<string | null> {
  const over = new AbortController()
  const signal = AbortSignal.any([context.signal, over.signal])
  const quiet = context.clock.sleep(ms, signal).then(() => null)
  const watchers = [quiet, ...context.instances.map((instance) => exitOf(context, instance.id, signal)), burstOf(context, signal)]
  const { healthCheck } = configOf(context).run
  if (healthCheck !== null) watchers.push(...context.instances.map((instance) => unhealthinessOf(context, instance, healthCheck, signal)))
  try {
    return await Promise.race(watchers)
  } finally {
    over.abort()
    await Promise.allSettled(watchers)
  }
}

async function exitOf(context: StageContext, id: StageContext['instances'][number]['id'], signal: AbortSignal): Promise<string> {
  return describeExit(await context.drivers.runtime.waitForExit(id, signal))
}

async function burstOf(context: StageContext, signal: AbortSignal): Promise<string> {
  for (;;) {
    await context.clock.sleep(LIMITS.bakePollMs, signal)
    const found = await burst(context)
    if (found !== null) return found
  }
}

/** At least `bakeErrorsMin` answers were 5xx or could not be given, and they are half of all since the swap. */
async function burst(context: StageContext): Promise<string | null> {
  const traffic = await context.drivers.edge.traffic(context.deployment.serviceEnvironmentId).catch(() => null)
  if (traffic === null || traffic.generation !== context.facts.generation) return null
  const errors = traffic.serverErrors + traffic.failures
  if (errors < LIMITS.bakeErrorsMin || errors * 2 < traffic.requests) return null
  return `${errors} of ${traffic.requests} requests since the swap were answered with a server error`
}

async function unhealthinessOf(
  context: StageContext,
  instance: StageContext['instances'][number],
  check: HealthCheck,
  signal: AbortSignal,
): Promise<string> {
  let failingSince: number | null = null
  for (;;) {
    await context.clock.sleep(Math.min(check.periodMs, LIMITS.bakePollMs * 4), signal)
    if (instance.address === null) continue
    const { runtime } = context.drivers
    const attempt = await probeOnce({
      probe: check.probe,
      instanceId: instance.id,
      address: instance.address,
      timeoutMs: check.attemptTimeoutMs,
      runtime,
      clock: context.clock,
      signal,
    })
    const now = context.clock.monotonic()
    if (attempt.outcome === 'passed') {
      failingSince = null
      continue
    }
    failingSince ??= now
    if (now - failingSince >= check.disconnectTimeoutMs) {
      return `instance ${instance.index} failed its health check for ${check.disconnectTimeoutMs / 1000} s: ${attempt.result}`
    }
  }
}
