import type { Deployment, Instance } from '../domain/deployment.ts'
import type { StageName } from '../domain/deployment-machine.ts'
import { instanceIdFor, releaseIdFor } from '../domain/ids.ts'
import type { Queryable } from '../store/database.ts'
import type { ServiceEnvironment } from '../store/sql/catalog.ts'
import { adoptInstances, markStandby, saveInstances } from '../store/sql/instances.ts'
import { setLive } from '../store/sql/live.ts'
import { insertRelease } from '../store/sql/releases.ts'
import type { EngineDependencies } from './dependencies.ts'
import { event, type PendingEvent } from './deployment-event.ts'
import { instanceVariables, secretNamesOf } from './variables.ts'
import type { Work } from './work.ts'

interface Entering {
  readonly dependencies: EngineDependencies
  readonly target: ServiceEnvironment
  readonly deployment: Deployment
}

interface Leaving {
  readonly dependencies: EngineDependencies
  /** With the facts that the stage found. */
  readonly work: Work
  readonly isSkipped: boolean
  /** Redacted. */
  readonly reason: string
}

interface Left {
  readonly events: readonly PendingEvent[]
  /** The release that was made; null = none was. */
  readonly releaseId: Deployment['releaseId']
}

/** What the record of a stage holds beside its outcome; each happens in the transaction that enters, leaves or fails the stage. */
interface StageEffects {
  enter?(tx: Queryable, about: Entering): Promise<readonly PendingEvent[]>
  leave?(tx: Queryable, about: Leaving): Promise<Left>
  fail?(about: Pick<Work, 'target' | 'deployment'>, reason: string, code: string | null): readonly PendingEvent[]
}

/** Stages that are not named leave nothing beside their outcome. */
export const EFFECTS: Readonly<Partial<Record<StageName, StageEffects>>> = {
  build: {
    enter: async (_, about) => [event(about, 'build.running', `the build of ${about.target.service} has begun`)],
    leave: async (_, { work, reason, isSkipped }) => ({
      events: [event(work, 'build.finished', reason, { skipped: isSkipped })],
      releaseId: null,
    }),
    fail: (about, reason, code) => [event(about, 'build.failed', reason, { code })],
  },
  publish: { leave: makeRelease },
  launch: {
    enter: async (tx, about) => {
      await planInstances(tx, about)
      return []
    },
  },
  swap: { leave: makeLive },
  retire: {
    enter: async (tx, { target, deployment }) => {
      await markStandby(tx, target.id, deployment.id, deployment.facts.config?.deploy.standbyMs ?? 0)
      return []
    },
  },
}

/** Rows before real things: the instances that launch is going to start, adopted ones first. */
async function planInstances(tx: Queryable, { dependencies, target, deployment }: Entering): Promise<void> {
  const { releaseId, facts } = deployment
  if (releaseId === null || facts.config === null) throw new Error('launch was entered without a release')
  const count = target.instances ?? facts.config.run.instances
  const serverId = dependencies.owner.serverId
  const isAdopting = deployment.kind === 'rollback' && dependencies.drivers.runtime.capabilities.restartsStopped
  const adopted = isAdopting ? await adoptInstances(tx, { from: releaseId, to: deployment.id, serverId, count }) : []
  const fresh = Array.from({ length: count - adopted.length }, (_, place): Instance => {
    const index = adopted.length + place
    return {
      id: instanceIdFor(deployment.id, index, 0),
      deploymentId: deployment.id,
      releaseId,
      serviceEnvironmentId: target.id,
      serverId,
      index,
      state: 'starting',
      address: null,
      restarts: 0,
      standbyUntil: null,
    }
  })
  await saveInstances(tx, fresh)
}

/** What was found out about the artifact becomes a release, with the variables as they are now. */
async function makeRelease(tx: Queryable, { dependencies, work }: Leaving): Promise<Left> {
  const { facts, id, serviceEnvironmentId, trigger } = work.deployment
  if (facts.revision === null || facts.artifact === null || facts.config === null) throw new Error('publish ended without an artifact')
  const about = { target: work.target, deployment: work.deployment, release: null, config: facts.config }
  const variables = await instanceVariables(dependencies, tx, about)
  const release = await insertRelease(tx, {
    id: releaseIdFor(id),
    serviceEnvironmentId,
    deploymentId: id,
    revision: facts.revision,
    artifact: facts.artifact,
    config: facts.config,
    buildKey: facts.buildKey,
    trigger,
    sealedVariables: dependencies.sealer.seal(JSON.stringify(variables)),
    secretNames: await secretNamesOf(dependencies, tx, work.deployment, variables),
  })
  const made = event(work, 'release.created', `v${release.number} was made`, { number: release.number, artifact: release.artifact })
  return { events: [made], releaseId: release.id }
}

/** From here on the new deployment serves: the old one is superseded or rolled back, settled, and its worker is fenced out (I6). */
async function makeLive(tx: Queryable, { work }: Leaving): Promise<Left> {
  const events: PendingEvent[] = []
  const { deployment, target } = work
  const replaced = await setLive(tx, {
    serviceEnvironmentId: target.id,
    deploymentId: deployment.id,
    isRollback: deployment.kind === 'rollback',
  })
  if (replaced !== null) {
    const type = deployment.kind === 'rollback' ? 'deployment.rolled_back' : 'deployment.superseded'
    const message = `${deployment.id} took its place`
    events.push({ ...event(work, type, message, { replacedBy: deployment.id }, !replaced.hadSettled), deploymentId: replaced.id })
  }
  events.push(
    event(work, 'deployment.running', `${target.service} serves at ${target.host}`, { release: work.release?.number ?? null }),
    event(work, 'release.active', `v${work.release?.number ?? '?'} is live`, { number: work.release?.number ?? null }),
    event(work, 'service.running', `${target.service} runs`, {}),
  )
  return { events, releaseId: null }
}
