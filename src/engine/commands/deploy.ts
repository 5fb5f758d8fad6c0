import { ShiplockError } from '../../core/errors.ts'
import type { Deployment, DeploymentOptions, Source, Trigger } from '../../domain/deployment.ts'
import type { HostNames } from '../../domain/host-name.ts'
import type { QueuePolicy } from '../../domain/queue-rules.ts'
import type { Queryable } from '../../store/database.ts'
import {
  ensureServiceEnvironment,
  findServiceEnvironment,
  lockServiceEnvironment,
  type ServiceEnvironment,
} from '../../store/sql/catalog.ts'
import { readDeployRules } from '../../store/sql/deploy-rules.ts'
import { enqueueDeployment } from '../../store/sql/deployments.ts'
import { findFreeze } from '../../store/sql/freezes.ts'
import { releaseHold } from '../../store/sql/holds.ts'
import { hasUpload } from '../../store/sql/uploads.ts'

/** Asking for a deployment, as a person or a program does that means this one. */
export interface DeployRequest {
  readonly names: HostNames
  /** null = the one that the service took in this environment before. */
  readonly source: Source | null
  /** The one environment that the asker's token is bound to; null = none. */
  readonly boundTo: string | null
  readonly actor: string
  readonly trigger: Omit<Trigger, 'actor'>
  readonly options: Omit<DeploymentOptions, 'variables'>
}

export interface DeployRules {
  /** The host under which a service is reached that is new in its environment. */
  readonly hostFor: (names: HostNames) => string
  /** Throws when the asker may not use that source. */
  readonly assertMayUse: (source: Source) => void
}

/**
 * Queues a deployment that was asked for. It ends the hold of a rollback, and a freeze stops it unless the options say why not; a push
 * (`deployPush`) does neither. In the caller's transaction. @throws INPUT_INVALID, SOURCE_NOT_FOUND, FROZEN, CONFLICT
 */
export async function deploy(tx: Queryable, request: DeployRequest, rules: DeployRules): Promise<Deployment> {
  const { names, actor, options } = request
  const source = await chooseSource(tx, request)
  rules.assertMayUse(source)
  const made = await ensureServiceEnvironment(tx, names, source, rules.hostFor(names))
  const target = await lockServiceEnvironment(tx, made.id)
  await releaseHold(tx, target, actor)
  const overrideFreeze = await passFreeze(tx, target, options.overrideFreeze ?? null)
  return enqueueDeployment(tx, target, {
    kind: 'deploy',
    source,
    rollbackTo: null,
    trigger: { ...request.trigger, actor },
    options: { ...options, overrideFreeze, variables: 'current' },
  })
}

export interface PushRequest {
  readonly source: Source
  readonly trigger: Trigger
  readonly isRebuild?: boolean
  /** The environment whose rules say where in the source the service is; null = its own. */
  readonly rulesOf?: ServiceEnvironment | null
  /** Left out: as the environment's rules say. */
  readonly queue?: QueuePolicy
}

/** Queues what a push or a pull request brings. Holds and freezes were looked at when it was decided; the caller holds the row lock. */
export async function deployPush(tx: Queryable, target: ServiceEnvironment, request: PushRequest): Promise<Deployment> {
  const { configPath, rootDirectory } = await readDeployRules(tx, request.rulesOf?.id ?? target.id)
  return enqueueDeployment(tx, target, {
    kind: 'deploy',
    source: request.source,
    rollbackTo: null,
    ...(request.queue === undefined ? {} : { queue: request.queue }),
    trigger: request.trigger,
    options: { rebuild: request.isRebuild ?? false, autoRollback: null, variables: 'current', configPath, rootDirectory },
  })
}

/**
 * The source that was named, or the one that the service took in this environment before (I14). An upload must be one of this project
 * (I10); one that is named with the token of one environment, of that environment.
 */
async function chooseSource(tx: Queryable, { names, source: named, boundTo }: DeployRequest): Promise<Source> {
  const source = named ?? (await findServiceEnvironment(tx, names))?.source ?? null
  if (source === null) {
    throw new ShiplockError('INPUT_INVALID', `body.source: is missing, and ${names.service} has no earlier one in ${names.environment}`, {
      hint: 'Name a directory, a git URL or an image.',
    })
  }
  const scope = { project: names.project, environment: named === null ? null : boundTo }
  if (source.kind === 'upload' && !(await hasUpload(tx, scope, source.digest))) {
    throw new ShiplockError('SOURCE_NOT_FOUND', `no upload ${source.digest} in project ${names.project}`, {
      hint: 'Upload it to this project first.',
    })
  }
  return source
}

/** Null where nothing is frozen: then there is nothing to override. */
async function passFreeze(tx: Queryable, target: ServiceEnvironment, reason: string | null): Promise<string | null> {
  const freeze = await findFreeze(tx, target.environmentId)
  if (freeze === null || reason !== null) return freeze === null ? null : reason
  const end = freeze.until === null ? 'until it is lifted' : `until ${freeze.until}`
  throw new ShiplockError('FROZEN', `${target.environment} of ${target.project} is frozen ${end}: ${freeze.reason}`, {
    details: { until: freeze.until, reason: freeze.reason, by: freeze.createdBy },
  })
}
