import { ShiplockError } from '../../core/errors.ts'
import type { InstanceStatus } from '../runtime.ts'
import type { ContainerLog } from './container-log.ts'

/** Waits until init commands have run, and tells which of them failed. @throws LAUNCH_FAILED */
export async function awaitStarted(
  log: ContainerLog,
  around: { readonly inspect: () => Promise<InstanceStatus>; readonly pause: () => Promise<void>; readonly signal: AbortSignal },
): Promise<InstanceStatus> {
  for (;;) {
    around.signal.throwIfAborted()
    // In this order: what has ended, and was read, can report nothing more.
    const status = await around.inspect()
    if (status.state !== 'running') await log.settle()
    const report = await log.reports.read()
    if (report.kind === 'init-failed')
      throw new ShiplockError('LAUNCH_FAILED', `init command ${report.number} exited with ${report.code}, and initFailure is "fail"`)
    if (report.kind === 'started') {
      const { initFailures } = report
      return status.state === 'running' && initFailures.length > 0 ? { ...status, initFailures } : status
    }
    if (status.state !== 'running') return status
    await around.pause()
  }
}
