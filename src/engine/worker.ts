import type { Clock } from '../core/clock.ts'
import { crashPoint } from '../core/crash-points.ts'
import { isShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import type { Service } from '../core/service.ts'
import type { DeploymentId } from '../domain/ids.ts'
import { StageAbort } from '../stages/stage.ts'
import { parseNotice } from '../store/channels.ts'
import { isConstraintViolation, isTransient, type Queryable } from '../store/database.ts'
import { withRetry } from '../store/retry.ts'
import { toDeployment } from '../store/rows.ts'
import { getServiceEnvironment } from '../store/sql/catalog.ts'
import { claimDeployment } from '../store/sql/claim.ts'
import { findDeployment } from '../store/sql/deployments.ts'
import { appendEvents } from '../store/sql/events.ts'
import { abandonLeases, type Lease, renewLeases, rescueLease } from '../store/sql/leases.ts'
import { findRelease } from '../store/sql/releases.ts'
import { readTimeLeft } from '../store/sql/time-left.ts'
import { enterStage } from './commit.ts'
import type { EngineDependencies } from './dependencies.ts'
import { event } from './deployment-event.ts'
import { scanOfRollback } from './rollback-scan.ts'
import { runDeployment } from './run-deployment.ts'

interface Run {
  readonly letGo: AbortController
  readonly giveUp: AbortController
  readonly ended: Promise<void>
}

/**
 * Takes work from the queue and carries it out. Three reasons to look: a notice, the poll, an ended run. Each look first rescues what a
 * dead worker left, then claims what waits. The heartbeat extends the leases of what runs here and learns of lost leases and cancels.
 */
export class Worker implements Service {
  readonly #dependencies: EngineDependencies
  readonly #clock: Clock
  readonly #runs = new Map<DeploymentId, Run>()
  #stopped: AbortController | null = null
  #loops: Promise<unknown> = Promise.resolve()
  #wake: (() => void) | null = null
  #isWoken = false

  constructor(dependencies: EngineDependencies) {
    this.#dependencies = dependencies
    this.#clock = dependencies.clock
  }

  async start(): Promise<void> {
    if (this.#stopped !== null) return
    this.#stopped = new AbortController()
    const { signal } = this.#stopped
    this.#loops = Promise.all([this.#takeWork(signal), this.#heartbeat(signal)])
  }

  /** Lets go of everything at the next safe place; what was at work is taken up again by the next start or by another server. */
  async stop(): Promise<void> {
    if (this.#stopped === null) return
    this.#stopped.abort(new StageAbort('shutdown'))
    this.#stopped = null
    this.look()
    for (const run of this.#runs.values()) run.letGo.abort(new StageAbort('shutdown'))
    await Promise.allSettled([this.#loops, ...[...this.#runs.values()].map((run) => run.ended)])
    await abandonLeases(this.#dependencies.database, this.#dependencies.owner).catch(() => {})
  }

  /** Given every payload of the notice channel; null = some may have been missed. */
  onNotice(payload: string | null): void {
    const notice = payload === null ? null : parseNotice(payload)
    if (notice === null || notice.kind === 'queued') this.look()
    if (notice?.kind === 'cancel') this.#runs.get(notice.deploymentId as DeploymentId)?.giveUp.abort(new StageAbort('canceled'))
  }

  /** Looks for work now. */
  look(): void {
    this.#isWoken = true
    this.#wake?.()
  }

  async #takeWork(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#isWoken = false
      try {
        while (!signal.aborted && (await this.#takeOne())) {}
      } catch (error) {
        if (!isTransient(error)) this.#dependencies.logger.error('taking work failed', { error })
      }
      await this.#nextLook(signal)
    }
  }

  async #nextLook(signal: AbortSignal): Promise<void> {
    if (this.#isWoken || signal.aborted) return
    const over = new AbortController()
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#wake = resolve
      }),
      this.#clock.sleep(LIMITS.queuePollMs, AbortSignal.any([signal, over.signal])).catch(() => {}),
    ])
    // A burst of notices must not leave a burst of timers.
    over.abort()
    this.#wake = null
  }

  async #takeOne(): Promise<boolean> {
    const { database } = this.#dependencies
    const rescued = await database.transaction((tx) => rescue(this.#dependencies, tx, [...this.#runs.keys()]))
    if (rescued !== null) {
      this.#run(rescued)
      return true
    }
    const claimed = await this.#claim()
    if (claimed === null) return false
    crashPoint('claim.committed')
    this.#run(claimed)
    return true
  }

  async #claim(): Promise<Lease | null> {
    try {
      return await this.#dependencies.database.transaction((tx) => claim(this.#dependencies, tx))
    } catch (error) {
      // Another server took the slot or the service environment between the look and the write: the index said no (I4).
      if (isConstraintViolation(error)) return null
      throw error
    }
  }

  #run(lease: Lease): void {
    const letGo = new AbortController()
    const giveUp = new AbortController()
    const { logger } = this.#dependencies
    const ended = this.#carryOut(lease, letGo, giveUp)
      .catch((error: unknown) => {
        if (letGo.signal.aborted || isShiplockError(error, 'FENCED'))
          logger.info('let go of a deployment', { deploymentId: lease.deploymentId, error })
        else
          logger.error('a deployment was dropped; it will be rescued', {
            deploymentId: lease.deploymentId,
            error,
            stack: (error as Error).stack,
          })
      })
      .finally(() => {
        this.#runs.delete(lease.deploymentId)
        this.look()
      })
    this.#runs.set(lease.deploymentId, { letGo, giveUp, ended })
  }

  async #carryOut(lease: Lease, letGo: AbortController, giveUp: AbortController): Promise<void> {
    const { database } = this.#dependencies
    const patience = { signal: letGo.signal, isIdempotent: true, giveUpAfterMs: LIMITS.databaseOutageMs }
    const leftMs = await withRetry(() => readTimeLeft(database, lease.deploymentId), patience)
    const timer = setTimeout(() => giveUp.abort(new StageAbort('timeout')), Math.max(0, leftMs))
    try {
      await runDeployment(this.#dependencies, lease, { letGo: letGo.signal, giveUp: giveUp.signal })
    } finally {
      clearTimeout(timer)
    }
  }

  async #heartbeat(signal: AbortSignal): Promise<void> {
    for (;;) {
      try {
        await this.#clock.sleep(LIMITS.heartbeatMs, signal)
      } catch {
        return
      }
      await this.#renew().catch((error: unknown) => this.#dependencies.logger.warn('a heartbeat failed', { error }))
    }
  }

  async #renew(): Promise<void> {
    const runs = new Map(this.#runs)
    if (runs.size === 0) return
    const renewed = new Map(
      (await renewLeases(this.#dependencies.database, this.#dependencies.owner, [...runs.keys()])).map((lease) => [
        lease.deploymentId,
        lease,
      ]),
    )
    for (const [id, run] of runs) {
      const lease = renewed.get(id)
      if (lease === undefined) run.letGo.abort(new StageAbort('fenced'))
      else if (lease.cancelRequested) run.giveUp.abort(new StageAbort('canceled'))
    }
  }
}

/** One claim: slot, lease, first stage and its events in one transaction. */
export async function claim(dependencies: EngineDependencies, tx: Queryable): Promise<Lease | null> {
  const row = await claimDeployment(tx, { slots: dependencies.slots, timeoutMs: dependencies.buildTimeoutMs })
  if (row === null || row.stage === null) return null
  const claimed = toDeployment(row)
  const target = await getServiceEnvironment(tx, claimed.serviceEnvironmentId)
  if (target === null) throw new Error(`service environment ${claimed.serviceEnvironmentId} vanished`)
  const release = claimed.rollbackTo === null ? null : await findRelease(tx, claimed.rollbackTo)
  const deployment =
    release === null
      ? claimed
      : {
          ...claimed,
          releaseId: release.id,
          facts: {
            ...claimed.facts,
            revision: release.revision,
            artifact: release.artifact,
            config: release.config,
            buildKey: release.buildKey,
            ...(await scanOfRollback(tx, target.projectId, release, dependencies.clock.now())),
          },
        }
  const entered = await enterStage(dependencies, tx, target, deployment, row.stage, { deploymentId: claimed.id })
  await appendEvents(tx, [
    event({ target, deployment }, 'deployment.started', `${claimed.kind} of ${target.service} has begun`),
    ...deployment.facts.warnings.map((warning) => event({ target, deployment }, 'deployment.warning', warning)),
    ...entered.events,
  ])
  return entered.lease
}

/** Takes over what a dead worker left; not what runs in this process. */
async function rescue(dependencies: EngineDependencies, tx: Queryable, running: readonly DeploymentId[]): Promise<Lease | null> {
  const lease = await rescueLease(tx, dependencies.owner, running)
  if (lease === null) return null
  const deployment = await findDeployment(tx, lease.deploymentId)
  const target = deployment === null ? null : await getServiceEnvironment(tx, deployment.serviceEnvironmentId)
  if (deployment === null || target === null) throw new Error(`deployment ${lease.deploymentId} vanished`)
  const message = `taken up again at ${deployment.stage ?? 'its start'}`
  await appendEvents(tx, [event({ target, deployment }, 'deployment.resumed', message, { stage: deployment.stage, fence: lease.fence })])
  return lease
}
