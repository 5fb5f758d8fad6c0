import type { ContainerEngine } from '../../container-engine/engine.ts'
import { jsonLines } from '../../container-engine/engine-frames.ts'
import type { Clock } from '../../core/clock.ts'
import { ExitSignals } from '../process/exit-signals.ts'
import { filters, LABEL } from './container-labels.ts'

interface EngineEvent {
  readonly Actor?: { readonly Attributes?: Readonly<Record<string, string>> }
}

const RETRY_MS = 1000

/** Listens to the engine's events, so that who waits for an exit learns of it at once. What was missed while it was away is found by polling. */
export class ExitWatch {
  readonly signals = new ExitSignals()
  readonly #engine: ContainerEngine
  readonly #owner: string
  readonly #clock: Clock
  readonly #stop = new AbortController()

  constructor(engine: ContainerEngine, owner: string, clock: Clock) {
    this.#engine = engine
    this.#owner = owner
    this.#clock = clock
  }

  start(): void {
    void this.#run()
  }

  stop(): void {
    this.#stop.abort()
  }

  async #run(): Promise<void> {
    const { signal } = this.#stop
    const query = {
      filters: JSON.stringify({ type: ['container'], event: ['die', 'destroy', 'died', 'remove'], ...labelFilter(this.#owner) }),
    }
    while (!signal.aborted) {
      try {
        const { body } = await this.#engine.stream('GET', '/events', { query, signal })
        // What ended before the engine listened to us was not told.
        this.signals.emitAll()
        for await (const event of jsonLines<EngineEvent>(body)) {
          const id = event.Actor?.Attributes?.[LABEL.id]
          if (id !== undefined) this.signals.emit(id)
        }
      } catch {
        // Away: it is asked again.
      }
      this.signals.emitAll()
      await this.#clock.sleep(RETRY_MS, signal).catch(() => {})
    }
  }
}

function labelFilter(owner: string): { label: string[] } {
  return JSON.parse(filters(`${LABEL.owner}=${owner}`)) as { label: string[] }
}
