import { LIMITS } from '../core/limits.ts'
import { createRedactorInSlices, type LineRedactor } from '../core/redact.ts'
import type { InstanceId } from '../domain/ids.ts'
import type { InstanceLogLine, InstanceLogOptions } from '../runtimes/runtime.ts'
import { getServiceEnvironment } from '../store/sql/catalog.ts'
import { findInstance } from '../store/sql/instances.ts'
import type { EngineDependencies } from './dependencies.ts'
import { secretValues } from './variables.ts'

type Dependencies = Pick<EngineDependencies, 'database' | 'sealer' | 'drivers' | 'clock'>

/** What an instance prints, without the secrets it was given and those of today (I8). */
export async function* instanceOutput(
  dependencies: Dependencies,
  id: InstanceId,
  options: InstanceLogOptions,
): AsyncGenerator<InstanceLogLine> {
  const { database, drivers, clock } = dependencies
  const instance = await findInstance(database, id)
  const target = instance === null ? null : await getServiceEnvironment(database, instance.serviceEnvironmentId)
  if (instance === null || target === null) return
  const redact = await createRedactorInSlices(await secretValues(dependencies, database, target, [instance.releaseId]))
  yield* redacted(drivers.runtime.logs(id, options), redact.lines(), (signal) => clock.sleep(LIMITS.redactHoldMs, signal))
}

/** A line that may end within a secret waits for the next one, but not for long: a follower wants to see what is there. */
async function* redacted(
  lines: AsyncIterable<InstanceLogLine>,
  redactor: LineRedactor,
  pause: (signal: AbortSignal) => Promise<void>,
): AsyncGenerator<InstanceLogLine> {
  const ready: InstanceLogLine[] = []
  const reading = lines[Symbol.asyncIterator]()
  let next: Promise<IteratorResult<InstanceLogLine>> | null = null
  try {
    for (;;) {
      next ??= reading.next()
      const result = redactor.isHolding ? await firstOf(next, pause) : await next
      if (result === null) redactor.flush()
      else {
        next = null
        if (result.done === true) redactor.flush()
        else redactor.push(result.value.text, (text) => void ready.push({ ...result.value, text }))
      }
      yield* ready.splice(0)
      if (result?.done === true) return
    }
  } finally {
    next?.catch(() => {})
    await reading.return?.()
  }
}

/** null = the pause was over first. */
async function firstOf<T>(next: Promise<T>, pause: (signal: AbortSignal) => Promise<void>): Promise<T | null> {
  const over = new AbortController()
  const paused = pause(over.signal).then(
    () => null,
    () => null,
  )
  try {
    return await Promise.race([next, paused])
  } finally {
    over.abort()
  }
}
