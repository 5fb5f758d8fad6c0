import type { PushEvent } from '../../domain/push.ts'
import { needsMatch, type TriggerMatch, type TriggerRules } from '../../domain/trigger-decision.ts'
import type { TriggerDependencies } from './dependencies.ts'

interface Subject {
  readonly event: PushEvent
  readonly deliveryId: string | null
}

interface Wanted extends Subject {
  readonly rules: TriggerRules
}

/** Thrown out of a transaction that needs to know what patterns say: it ends, the patterns are matched, and it is begun anew. */
export class NotMatchedYet extends Error {
  readonly wanted: readonly Wanted[]

  constructor(wanted: readonly Wanted[]) {
    super('patterns have to be matched first')
    this.wanted = wanted
  }
}

/** What patterns say about pushes. No lock and no connection is held while it is found out. */
export class TriggerMatches {
  readonly #match: TriggerDependencies['matchTrigger']
  readonly #known = new Map<string, TriggerMatch>()

  constructor(match: TriggerDependencies['matchTrigger']) {
    this.#match = match
  }

  /** @throws NotMatchedYet */
  of(subject: Subject, rules: TriggerRules): TriggerMatch {
    this.require(subject, [rules])
    return this.#known.get(keyOf({ ...subject, rules })) ?? NOTHING
  }

  /** @throws NotMatchedYet with all that is not known */
  require(subject: Subject, rules: readonly TriggerRules[]): void {
    const { event, deliveryId } = subject
    const wanted = rules
      .map((one) => ({ event, deliveryId, rules: one }))
      .filter((one) => needsMatch(event, one.rules) && !this.#known.has(keyOf(one)))
    if (wanted.length > 0) throw new NotMatchedYet(wanted)
  }

  /** @throws WORK_TOO_LARGE, CONFIG_INVALID */
  async find(wanted: readonly Wanted[], signal: AbortSignal): Promise<void> {
    for (const one of wanted) {
      const key = keyOf(one)
      if (!this.#known.has(key)) this.#known.set(key, await this.#match(one.rules, one.event, signal))
    }
  }
}

const NOTHING: TriggerMatch = { isWatched: false, isTagWanted: false }

function keyOf({ event, deliveryId, rules }: Wanted): string {
  return JSON.stringify([deliveryId, event.ref, event.after, rules.tags, rules.watch])
}
