import type { Clock } from '../core/clock.ts'
import { LIMITS } from '../core/limits.ts'
import type { Instance, ProbeAttempt } from '../domain/deployment.ts'
import type { ReadinessCheck } from '../domain/service-config.ts'
import type { InstanceStatus, Runtime } from '../runtimes/runtime.ts'
import { probeOnce } from './probe.ts'

export type Readiness =
  | { readonly ready: true; readonly attempts: readonly ProbeAttempt[]; readonly address: { readonly host: string; readonly port: number } }
  | {
      readonly ready: false
      readonly attempts: readonly ProbeAttempt[]
      readonly reason: string
      readonly exited: boolean
      readonly overDisk?: boolean
    }

/** Pauses between probes begin with this (DESIGN.md §10) and grow to `retryPeriodMs`. */
const FIRST_PAUSE_MS = 5
/** A pause is this share of the time waited so far: an app that took t is seen at 1.25 t at the latest, with some 25 probes until 5 s. */
const PAUSE_SHARE = 0.25
/** The attempt at the deadline gets so much: its answer is what the failure is explained by. */
const LAST_ATTEMPT_MS = 1000

/** Probes one instance until it passes, exits, or `failureTimeoutMs` is over. Keeps the last attempts for the explanation. */
export async function waitReady(
  instance: Pick<Instance, 'id'>,
  check: ReadinessCheck,
  outside: { readonly runtime: Runtime; readonly clock: Clock; readonly signal: AbortSignal },
): Promise<Readiness> {
  const { runtime, clock } = outside
  const ended = new AbortController()
  const signal = AbortSignal.any([outside.signal, ended.signal])
  const attempts: ProbeAttempt[] = []
  let exit: InstanceStatus | null = null
  const watch = runtime
    .waitForExit(instance.id, signal)
    .then((status) => {
      exit = status
      ended.abort(new Error('the instance ended'))
    })
    .catch(() => {})
  try {
    const begun = clock.monotonic()
    const deadline = begun + check.failureTimeoutMs
    for (;;) {
      const status = await runtime.inspect(instance.id)
      if (status.state !== 'running') return notReadyAfter(status, attempts)
      const left = Math.max(LAST_ATTEMPT_MS, deadline - clock.monotonic())
      const timeoutMs = Math.round(Math.min(check.attemptTimeoutMs, left))
      const attempt = await probeOnce({
        probe: check.probe,
        instanceId: instance.id,
        address: status.address,
        timeoutMs,
        runtime,
        clock,
        signal,
      })
      attempts.push(attempt)
      if (attempts.length > LIMITS.probeAttemptsKept) attempts.shift()
      if (attempt.outcome === 'passed') return { ready: true, attempts, address: status.address }
      const waitMs = deadline - clock.monotonic()
      if (waitMs <= 0) {
        const reason = `not ready after ${check.failureTimeoutMs / 1000} s: ${attempt.address} gave ${attempt.result}`
        return { ready: false, attempts, reason, exited: false }
      }
      const pauseMs = Math.max(FIRST_PAUSE_MS, (clock.monotonic() - begun) * PAUSE_SHARE)
      await clock.sleep(Math.min(pauseMs, check.retryPeriodMs, waitMs), signal)
    }
  } catch (error) {
    outside.signal.throwIfAborted()
    if (exit === null) throw error
    return notReadyAfter(exit, attempts)
  } finally {
    ended.abort()
    await watch
  }
}

function notReadyAfter(status: InstanceStatus, attempts: readonly ProbeAttempt[]): Readiness {
  return { ready: false, attempts, reason: describeExit(status), exited: true, overDisk: isOverDisk(status) }
}

export function isOverDisk(status: InstanceStatus): boolean {
  return status.state === 'exited' && Boolean(status.overDisk)
}

/** How an instance ended, in one clause. */
export function describeExit(status: InstanceStatus): string {
  if (status.state === 'missing') return 'the instance is gone'
  if (status.state === 'running') return 'the instance is running'
  if (status.overDisk) return `the instance was stopped: ${status.overDisk}`
  if (status.outOfMemory) return 'the instance was killed: out of memory (raise run.memoryMb)'
  if (status.signal !== null) return `the instance was ended by ${status.signal}`
  return status.exitCode === null
    ? 'the instance ended; its exit code is not known'
    : `the instance ended with exit code ${status.exitCode}`
}
