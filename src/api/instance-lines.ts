import type { InstanceLine } from '../contract/event.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import type { InstanceId } from '../domain/ids.ts'
import { listInstanceRecords } from '../store/sql/service-view.ts'
import type { ApiDependencies, InstanceOutput } from './dependencies.ts'
import type { LogPositions } from './log-positions.ts'
import { type SseConnection, sseFrame } from './sse.ts'

type Records = Awaited<ReturnType<typeof listInstanceRecords>>

const ALIVE = new Set(['starting', 'ready', 'serving', 'warm'])

/** The last `tail` lines of all instances together, oldest first. */
export async function readInstanceLines(dependencies: ApiDependencies, serviceEnvironmentId: string, tail: number, signal: AbortSignal) {
  const records = await runningInstances(dependencies, serviceEnvironmentId)
  const lists = await Promise.all(
    records.map(async ({ instance, release }) => {
      const lines: InstanceLine[] = []
      const options = { after: null, tail, follow: false, signal }
      for await (const line of dependencies.instanceLogs(instance.id, options)) lines.push(toLine(instance.id, release, line))
      return lines
    }),
  )
  const lines = lists.flat().sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0))
  return lines.slice(Math.max(0, lines.length - tail))
}

/**
 * Follows every instance of a service, those that are started later too. The id of each frame holds the place in every instance's log,
 * so that a reader that comes back continues in all of them.
 */
export class InstanceFollower {
  readonly #dependencies: ApiDependencies
  readonly #stream: SseConnection
  readonly #positions: LogPositions
  readonly #following = new Set<string>()
  readonly #tail: number
  #turn: Promise<void> = Promise.resolve()

  constructor(dependencies: ApiDependencies, stream: SseConnection, positions: LogPositions, tail: number) {
    this.#dependencies = dependencies
    this.#stream = stream
    this.#positions = positions
    this.#tail = tail
  }

  /** Resolves when the reader is gone. */
  async run(serviceEnvironmentId: string): Promise<void> {
    const { signal } = this.#stream
    const running = new Set<Promise<void>>()
    let isFirst = this.#positions.isEmpty
    const look = async () => {
      const records = await listInstanceRecords(this.#dependencies.database, serviceEnvironmentId)
      this.#positions.keepOnly(new Set(records.map(({ instance }) => instance.id)))
      for (const { instance, release } of records.filter(isAlive)) {
        if (this.#following.has(instance.id) || signal.aborted) continue
        this.#following.add(instance.id)
        const follow = this.#follow(instance.id, release, isFirst ? this.#tail : null).finally(() => {
          running.delete(follow)
          this.#following.delete(instance.id)
        })
        running.add(follow)
      }
      isFirst = false
    }
    await look()
    await this.#onChange(look)
    await Promise.allSettled(running)
  }

  /** Lines of several instances take turns, so that each id tells the true place of all. */
  async #follow(id: InstanceId, release: number, tail: number | null): Promise<void> {
    const { signal } = this.#stream
    const after = this.#positions.of(id)
    try {
      const options = { after, tail: after === null ? tail : null, follow: true, signal }
      for await (const line of this.#dependencies.instanceLogs(id, options)) {
        const written = this.#turn.then(async () => {
          this.#positions.set(id, line.offset)
          await this.#stream.write(sseFrame('line', toLine(id, release, line), `${this.#positions}`))
        })
        this.#turn = written
        await written
      }
    } catch (error) {
      if (!signal.aborted) this.#dependencies.logger.debug('an instance log ended', { instance: id, error })
    }
  }

  /** Looks again whenever something happened to the service, until the reader is gone. */
  #onChange(look: () => Promise<void>): Promise<void> {
    const { signal } = this.#stream
    const { notices, logger } = this.#dependencies
    return new Promise((resolve) => {
      let isLooking = false
      let isStale = false
      const lookAgain = () => {
        isStale = true
        if (isLooking) return
        isLooking = true
        lookWhileStale()
          .catch((error) => logger.debug('instances could not be listed', { error }))
          .finally(() => {
            isLooking = false
          })
      }
      const lookWhileStale = async () => {
        while (isStale) {
          isStale = false
          await look()
        }
      }
      const poll = setInterval(lookAgain, LIMITS.streamPollMs)
      const unsubscribe = notices.subscribe((notice) => {
        if (notice === null || notice.kind === 'events') lookAgain()
      })
      const done = () => {
        clearInterval(poll)
        unsubscribe()
        resolve()
      }
      if (signal.aborted) done()
      else signal.addEventListener('abort', done, { once: true })
    })
  }
}

async function runningInstances(dependencies: ApiDependencies, serviceEnvironmentId: string): Promise<Records> {
  const records = await listInstanceRecords(dependencies.database, serviceEnvironmentId)
  return records.filter(isAlive)
}

function isAlive({ instance }: Records[number]): boolean {
  return ALIVE.has(instance.state)
}

function toLine(instance: string, release: number, line: InstanceOutput): InstanceLine {
  return { instance, release, offset: line.offset, at: line.at, text: printable(line.text) }
}
