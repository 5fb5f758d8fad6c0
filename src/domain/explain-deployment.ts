import type { Deployment } from './deployment.ts'
import type { Event, EventType } from './event.ts'
import type { DeploymentId } from './ids.ts'
import type { Wait } from './waiting.ts'

/** All that is known of how a deployment went. `events`: its own, in order, and what began or ended a hold or freeze while it waited. */
export interface DeploymentStory {
  readonly deployment: Deployment
  readonly project: string
  readonly environment: string
  readonly service: string
  /** Number of the release that it made or goes back to. */
  readonly release: number | null
  readonly events: readonly Event[]
  /** While it is pending. */
  readonly wait: Wait | null
  /** Those of the same service and environment that were in progress while it waited, and until when. */
  readonly before: readonly { readonly id: DeploymentId; readonly until: string }[]
}

export interface Fact {
  readonly at: string
  readonly text: string
}

export interface Explanation {
  /** One sentence: where it stands, and why. */
  readonly summary: string
  /** What led there, oldest first. */
  readonly facts: readonly Fact[]
  /** The one thing to do now. */
  readonly next: string
}

/** Why a deployment stands where it stands. Follows from its row and its events alone (I11). */
export function explainDeployment(story: DeploymentStory): Explanation {
  return { summary: summaryOf(story), facts: factsOf(story), next: nextOf(story) }
}

function summaryOf({ deployment, events, service, environment, release, wait }: DeploymentStory): string {
  const { id, status, stage, error, statusReason, settled, replacedBy, cancelRequested } = deployment
  const what = `${id} of ${service} to ${environment}`
  const number = release === null ? '' : ` (v${release})`
  switch (status) {
    case 'pending':
      return `${what} ${wait?.text ?? 'waits for its turn'}.`
    case 'cloning':
    case 'building':
    case 'deploying':
      return cancelRequested ? `${what} is being canceled, during ${stage}.` : `${what} is in progress: ${stage}.`
    case 'running':
      return settled ? `${what} serves${number}.` : `${what} serves${number} and is still being watched: ${stage}.`
    case 'failed':
      return `${what} failed during ${error?.stage ?? stage ?? 'its start'}: ${error?.message ?? statusReason}${swappedBack(events)}`
    case 'canceled':
      return `${what} was canceled: ${statusReason || 'somebody asked for it'}.`
    case 'superseded':
      return isAbsorbed(events)
        ? `${what} never began: ${statusReason}.`
        : `${what} served${number} until ${replacedBy ?? 'a newer deployment'} took its place.`
    case 'rolled_back':
      return `${what} served${number} until the rollback ${replacedBy ?? ''} took its place.`.replace('  ', ' ')
  }
}

function swappedBack(events: readonly Event[]): string {
  return events.some(({ type }) => type === 'deployment.swapped_back')
    ? '. It had served; the previous one serves again.'
    : '. What was live serves on.'
}

function isAbsorbed(events: readonly Event[]): boolean {
  return events.some(({ type }) => type === 'deployment.absorbed')
}

function factsOf(story: DeploymentStory): readonly Fact[] {
  const facts: Fact[] = []
  for (const event of story.events) {
    const texts = event.type === 'deployment.queued' ? askedFor(story, event) : textOf(event)
    if (event.type === 'deployment.started') facts.push(...waited(story, event))
    facts.push(...texts.map((text) => ({ at: event.at, text })))
  }
  const { deployment, wait } = story
  if (wait !== null) facts.push({ at: wait.since, text: wait.text })
  const cause = deployment.error
  const last = facts.at(-1)
  if (cause !== null && last !== undefined) facts.push({ at: last.at, text: `the cause is classified as ${cause.code}` })
  return facts
}

function askedFor({ deployment, service, release }: DeploymentStory, { data }: Event): readonly string[] {
  const { trigger, kind, options } = deployment
  const push = trigger.push ?? null
  const what = kind === 'rollback' ? `a rollback of ${service} to v${release ?? '?'}` : `a deployment of ${service}`
  const note = trigger.note === null || trigger.note === '' ? '' : `: ${trigger.note}`
  const commit = push?.commit == null ? '' : ` (commit ${push.commit.slice(0, 12)})`
  const texts = [
    push === null ? `${trigger.actor} asked for ${what}, by ${trigger.kind}${note}` : `a push to ${push.ref}${commit} asked for ${what}`,
  ]
  const { overrideFreeze = null } = options
  if (overrideFreeze !== null) texts.push(`it did not wait for the end of the freeze: ${overrideFreeze}`)
  const absorbed = Array.isArray(data.absorbed) ? data.absorbed.filter((id) => typeof id === 'string') : []
  if (absorbed.length > 0) texts.push(`it took the place of ${absorbed.join(', ')} in the queue`)
  return texts
}

/** Shorter waits need no reason: the next look at the queue is at most that far away. */
const SHORT_MS = 1500

function waited({ deployment, before, events }: DeploymentStory, started: Event): readonly Fact[] {
  const ms = Date.parse(started.at) - Date.parse(deployment.createdAt)
  if (ms < SHORT_MS) return []
  const last = before.at(-1)
  const wasKept = events.some(({ type }) => (KEEPING as readonly string[]).includes(type))
  const forWhat =
    last !== undefined
      ? `for ${before.map(({ id }) => id).join(', ')} of the same service and environment, until ${last.until}`
      : wasKept
        ? 'for the end of a freeze or hold'
        : 'for a free slot'
  return [{ at: started.at, text: `it had waited ${inWords(ms)} ${forWhat}` }]
}
const KEEPING = [
  'environment.frozen',
  'environment.unfrozen',
  'service.held',
  'service.hold_released',
] as const satisfies readonly EventType[]

/** Events that say nothing of their own: the next one does, or the one before did. */
const SILENT: readonly EventType[] = [
  'stage.started',
  'build.running',
  'build.finished',
  'build.failed',
  'release.active',
  'service.running',
]

function textOf({ type, message, data }: Event): readonly string[] {
  if (SILENT.includes(type)) return []
  const stage = typeof data.stage === 'string' ? data.stage : ''
  switch (type) {
    case 'stage.finished':
      return [`${stage}: ${message}`]
    case 'stage.skipped':
      return [`${stage} skipped: ${message}`]
    case 'stage.failed':
      return [`${stage} failed: ${message}`]
    // The failure stands in the stage's event already.
    case 'deployment.failed':
      return ['it ended as failed']
    case 'deployment.warning':
      return [`warning: ${message}`]
    case 'deployment.resumed':
      return [`another start of a server ${message.replace('taken up again', 'took it up again')}`]
    default:
      return [message]
  }
}

function nextOf({ deployment, events, wait, project, environment, service }: DeploymentStory): string {
  const { id, status, error, replacedBy, cancelRequested, settled } = deployment
  const place = `-s ${service} -e ${environment} -p ${project}`
  switch (status) {
    case 'pending':
      return wait?.next ?? '`shiplock queue` shows what comes before it.'
    case 'cloning':
    case 'building':
    case 'deploying':
      return cancelRequested ? 'Nothing to do: it ends by itself.' : `\`shiplock logs ${id} -f\` shows it go on.`
    case 'running':
      return settled
        ? `Nothing to do; \`shiplock rollback ${place}\` goes back to the one before.`
        : 'Nothing to do: if the watch finds trouble, the previous one serves again by itself.'
    case 'failed':
      return error === null || error.hint === '' ? `\`shiplock logs ${id}\` shows how it went.` : error.hint
    case 'canceled':
      return `\`shiplock deploy --again ${place}\` deploys it anew.`
    case 'superseded':
      return replacedBy === null
        ? `\`shiplock status ${service}\` shows what serves.`
        : `\`shiplock why ${replacedBy}\` tells about the one that took its place${isAbsorbed(events) ? ' in the queue' : ''}.`
    case 'rolled_back':
      return `Mend it and deploy again: that ends the hold on automatic deployments, too.`
  }
}

/** `850 ms`, `12 s`, `3 min 5 s`, `2 h 10 min`. */
function inWords(ms: number): string {
  if (ms < 1000) return `${ms} ms`
  const seconds = Math.round(ms / 1000)
  if (seconds < 60) return `${seconds} s`
  const minutes = Math.floor(seconds / 60)
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`
  return minutes % 60 === 0 ? `${minutes / 60} h` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`
}
