/** The stages of a deployment, in order. One file each under `stages/`. */
export const STAGES = [
  'fetch',
  'build',
  'prepare',
  'scan',
  'publish',
  'release-command',
  'launch',
  'verify',
  'swap',
  'drain',
  'bake',
  'retire',
] as const
export type StageName = (typeof STAGES)[number]

/**
 * The word users see. Who moves a deployment on:
 * - pending: a worker's claim, or cancel
 * - cloning, building, deploying: the worker that holds the lease; after its death the rescuer hands the lease to another
 * - running: a newer deployment's swap (superseded), a rollback's swap (rolled_back), or a failed bake (failed)
 * - superseded, rolled_back: only a failed bake of the deployment that replaced it (running again)
 * - failed, canceled: nobody; final
 */
export const STATUSES = [
  'pending',
  'cloning',
  'building',
  'deploying',
  'running',
  'failed',
  'canceled',
  'superseded',
  'rolled_back',
] as const
export type DeploymentStatus = (typeof STATUSES)[number]

/** Every legal move. `store/` refuses any other; the diagram in ARCHITECTURE.md is printed from this table. */
export const NEXT = {
  pending: ['cloning', 'building', 'deploying', 'canceled', 'failed', 'superseded'],
  cloning: ['building', 'deploying', 'failed', 'canceled'],
  building: ['deploying', 'failed', 'canceled'],
  deploying: ['running', 'failed', 'canceled'],
  running: ['superseded', 'rolled_back', 'failed'],
  failed: [],
  canceled: [],
  superseded: ['running'],
  rolled_back: ['running'],
} as const satisfies Record<DeploymentStatus, readonly DeploymentStatus[]>

/** The status that a deployment shows while a stage runs (DESIGN.md §2). */
export const STATUS_OF_STAGE = {
  fetch: 'cloning',
  build: 'building',
  prepare: 'building',
  scan: 'building',
  publish: 'building',
  'release-command': 'deploying',
  launch: 'deploying',
  verify: 'deploying',
  swap: 'deploying',
  drain: 'running',
  bake: 'running',
  retire: 'running',
} as const satisfies Record<StageName, DeploymentStatus>

/** Statuses that hold the slot of their service and environment (I4). */
export const IN_PROGRESS = ['cloning', 'building', 'deploying'] as const satisfies readonly DeploymentStatus[]

export function canMove(from: DeploymentStatus, to: DeploymentStatus): boolean {
  return (NEXT[from] as readonly DeploymentStatus[]).includes(to)
}

/** Asserts a move; a refusal is a bug in the engine, never user input. */
export function assertMove(from: DeploymentStatus, to: DeploymentStatus): void {
  if (from !== to && !canMove(from, to)) throw new Error(`illegal move of a deployment: ${from} → ${to}`)
}

/** The point of no return: once the swap stage has been entered, a cancel is refused (DESIGN.md §3). */
export function isPastNoReturn(stage: StageName | null): boolean {
  return stage !== null && STAGES.indexOf(stage) >= STAGES.indexOf('swap')
}

/** The stage after `stage`; null after the last. */
export function stageAfter(stage: StageName): StageName | null {
  return STAGES[STAGES.indexOf(stage) + 1] ?? null
}
