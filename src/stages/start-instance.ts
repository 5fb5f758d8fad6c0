import { ShiplockError } from '../core/errors.ts'
import type { ReadinessCheck } from '../domain/service-config.ts'
import type { InitFailure, InstanceSpec, InstanceStatus, Runtime } from '../runtimes/runtime.ts'

/**
 * Starts an instance and waits until its start command runs. Init commands that hang end as a readiness check that never passes does:
 * after `failureTimeout`. @throws LAUNCH_FAILED, or the reason of `signal`
 */
export async function startInstance(
  runtime: Runtime,
  spec: InstanceSpec,
  bounds: { readonly check: Pick<ReadinessCheck, 'failureTimeoutMs'>; readonly fence: number; readonly signal: AbortSignal },
): Promise<InstanceStatus> {
  const { check, fence, signal } = bounds
  if (spec.initCommands.length === 0) return runtime.start(spec, fence, signal)
  const late = AbortSignal.timeout(check.failureTimeoutMs)
  try {
    return await runtime.start(spec, fence, AbortSignal.any([signal, late]))
  } catch (error) {
    signal.throwIfAborted()
    if (!late.aborted) throw error
    const seconds = check.failureTimeoutMs / 1000
    throw new ShiplockError('LAUNCH_FAILED', `the init commands had not ended after ${seconds} s (deploy.readinessCheck.failureTimeout)`, {
      hint: 'See the last lines of the instance for which one hangs; raise failureTimeout if it only needs longer.',
      cause: error,
    })
  }
}

/** One sentence for each init command that failed and was passed over. */
export function describeInitFailures(index: number, status: InstanceStatus, commands: readonly string[]): string[] {
  const failures: readonly InitFailure[] = status.state === 'running' ? (status.initFailures ?? []) : []
  return failures.map(({ number, exitCode }) => {
    const [line = '', ...more] = (commands[number - 1] ?? '').split('\n')
    return `instance ${index}: init command ${number} exited with ${exitCode}: ${line}${more.length > 0 ? ' …' : ''} (run.initFailure: continue)`
  })
}
