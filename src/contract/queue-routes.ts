import { z } from 'zod'
import { id, page, scope } from './primitives.ts'
import { CreateFreeze, Explanation, Freeze, LiftedFreeze, QueueEntry } from './queue.ts'
import type { RouteSpec } from './route.ts'

/** What waits, why, and what keeps it waiting. */
export const QUEUE_ROUTES = {
  getQueue: {
    method: 'get',
    path: '/v1/queue',
    tag: 'queue',
    needs: { verb: 'read', within: 'visible' },
    summary: 'What is in progress and what waits: place, reason, since when',
    response: page(QueueEntry),
    status: 200,
  },
  explainDeployment: {
    method: 'get',
    path: '/v1/deployments/{id}/why',
    tag: 'queue',
    needs: { verb: 'read', within: 'deployment' },
    summary: 'Why a deployment stands where it stands: a chain of facts and one next step',
    params: z.strictObject({ id }),
    response: Explanation,
    status: 200,
  },
  listFreezes: {
    method: 'get',
    path: '/v1/freezes',
    tag: 'queue',
    needs: { verb: 'read', within: 'visible' },
    summary: 'Freezes that last now',
    query: z.strictObject(scope),
    response: page(Freeze),
    status: 200,
  },
  createFreeze: {
    method: 'post',
    path: '/v1/freezes',
    tag: 'queue',
    needs: { verb: 'manage', within: 'scope' },
    audit: { action: 'freeze.create', tells: ['environment', 'reason', 'until', 'forMs'] },
    summary: 'Let nothing start in an environment or project but rollbacks and what overrides it; replaces the one of the same scope',
    body: CreateFreeze,
    response: Freeze,
    status: 201,
  },
  liftFreeze: {
    method: 'delete',
    path: '/v1/freezes',
    tag: 'queue',
    needs: { verb: 'manage', within: 'scope' },
    audit: { action: 'freeze.lift', tells: ['environment'] },
    summary: 'End the freeze of exactly that environment, or of the whole project when none is named; none is success',
    query: z.strictObject(scope),
    response: LiftedFreeze,
    status: 200,
  },
} as const satisfies Record<string, RouteSpec>
