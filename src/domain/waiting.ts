import type { DeploymentId } from './ids.ts'

/** In the order in which they are told: what a person can end first, what ends by itself last. */
export const WAIT_CAUSES = ['freeze', 'hold', 'previous', 'project-limit', 'slot', 'turn'] as const
export type WaitCause = (typeof WAIT_CAUSES)[number]

/** Why something has not begun: one sentence, since when, and the one thing to do about it. */
export interface Wait {
  readonly cause: WaitCause
  readonly text: string
  /** ISO time from which this was the reason. */
  readonly since: string
  readonly next: string
}

/** What may keep a pending deployment back. Freeze and hold are null where they don't concern it. */
export interface WaitingState {
  /** `-s web -e staging`, as the command line takes it. */
  readonly place: string
  readonly environment: string
  readonly createdAt: string
  readonly freeze: {
    readonly reason: string
    readonly until: string | null
    readonly createdAt: string
    readonly isWholeProject: boolean
  } | null
  readonly hold: { readonly reason: string; readonly since: string } | null
  /** In progress for the same service and environment. */
  readonly current: { readonly id: DeploymentId; readonly startedAt: string } | null
  /** How many wait for the same service and environment and are older. */
  readonly ahead: number
  readonly project: { readonly inProgress: number; readonly limit: number | null }
  readonly server: { readonly inProgress: number; readonly slots: number }
}

/** The same rules as the claim's (`store/sql/claim.ts`), in words. */
export function waitOf(state: WaitingState): Wait {
  const { freeze, hold, current, createdAt, place } = state
  const later = (time: string) => (Date.parse(time) > Date.parse(createdAt) ? time : createdAt)
  if (freeze !== null) {
    const what = freeze.isWholeProject ? 'the project' : state.environment
    const end = freeze.until === null ? 'until it is lifted' : `until ${freeze.until}`
    return {
      cause: 'freeze',
      text: `waits for the end of the freeze: ${what} is frozen ${end} (${freeze.reason})`,
      since: later(freeze.createdAt),
      next: freeze.isWholeProject
        ? '`shiplock unfreeze --project-wide` ends the freeze.'
        : `\`shiplock unfreeze ${state.environment}\` ends the freeze.`,
    }
  }
  if (hold !== null) {
    return {
      cause: 'hold',
      text: `waits for the end of the hold: automatic deployments wait (${hold.reason})`,
      since: later(hold.since),
      next: `\`shiplock rollback --release-hold ${place}\` lets automatic deployments go on; a deployment by hand does so, too.`,
    }
  }
  if (current !== null) {
    return {
      cause: 'previous',
      text: `waits for ${current.id} of the same service and environment${state.ahead === 0 ? '' : `, then for ${earlier(state.ahead)}`}`,
      since: later(current.startedAt),
      next: `\`shiplock logs ${current.id} -f\` shows how far that one is.`,
    }
  }
  const waits = { since: createdAt }
  if (state.ahead > 0) {
    return { ...waits, cause: 'previous', text: `waits for ${earlier(state.ahead)} of the same service and environment`, next: LOOK }
  }
  const { project, server } = state
  if (project.limit !== null && project.inProgress >= project.limit) {
    const text = `waits for the project's limit: ${project.inProgress} of ${project.limit} in progress`
    return { ...waits, cause: 'project-limit', text, next: LOOK }
  }
  if (server.inProgress >= server.slots) {
    return { ...waits, cause: 'slot', text: `waits for a free slot: ${server.inProgress} of ${server.slots} in progress`, next: LOOK }
  }
  return { ...waits, cause: 'turn', text: 'about to start', next: 'Nothing to do: it begins within a second.' }
}

const LOOK = '`shiplock queue` shows what is in progress and what comes before it.'

function earlier(count: number): string {
  return count === 1 ? 'an earlier deployment' : `${count} earlier deployments`
}
