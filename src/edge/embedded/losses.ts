import type { InstanceId, ServiceEnvironmentId } from '../../domain/ids.ts'
import type { WorkerTraffic } from './switchboard.ts'
import { addTraffic } from './traffic-sum.ts'

/** What a worker says of itself now and then, so that something is known of it when it ends. */
export interface WorkerPulse {
  readonly routes: readonly { readonly id: ServiceEnvironmentId; readonly traffic: WorkerTraffic }[]
  /** By instance, also of those that have left their route. */
  readonly inFlight: readonly (readonly [InstanceId, number])[]
}

interface Loss {
  readonly at: number
  readonly instance: InstanceId
  readonly flights: number
}

const LOSSES_KEPT = 1000

/**
 * What clients lost with workers that ended, as far as those had said: their counters, which would vanish from the receipt of a swap, and
 * what they had in flight, which nobody answered.
 */
export class Losses {
  readonly #traffic = new Map<ServiceEnvironmentId, WorkerTraffic>()
  #losses: Loss[] = []

  /** A worker has ended that had said this last. `at`: monotonic ms. */
  note(pulse: WorkerPulse, at: number): void {
    for (const { id, traffic } of pulse.routes) {
      const known = this.#traffic.get(id)
      const counted: WorkerTraffic = { ...traffic, targets: [] }
      const isNewer = known === undefined || known.generation < traffic.generation
      if (isNewer) this.#traffic.set(id, counted)
      else if (known.generation === traffic.generation) this.#traffic.set(id, addTraffic(known.generation, [known, counted]))
    }
    for (const [instance, flights] of pulse.inFlight) if (flights > 0) this.#losses.push({ at, instance, flights })
    this.#losses = this.#losses.slice(-LOSSES_KEPT)
  }

  /** Counted by workers that are gone; null = nothing. Of another generation than the present one it counts no longer. */
  traffic(id: ServiceEnvironmentId): WorkerTraffic | null {
    return this.#traffic.get(id) ?? null
  }

  forget(id: ServiceEnvironmentId): void {
    this.#traffic.delete(id)
  }

  /** Requests and streams that ended with a worker since then, on their way to or at these instances. */
  flights(instances: readonly InstanceId[], since: number): number {
    return this.#losses.filter((loss) => loss.at >= since && instances.includes(loss.instance)).reduce((sum, loss) => sum + loss.flights, 0)
  }
}
