/**
 * Life of an instance.
 * - starting: launched, readiness not yet passed; the worker of its deployment moves it on
 * - ready: readiness passed, not yet on the route
 * - serving: on the route; the health monitor watches it
 * - warm: replaced, off the route, still running so that a failed bake can swap back
 * - standby: stopped, kept until `standbyUntil` for emergency recovery: a rollback starts it, a swap-back wakes it
 * - removed: deleted; the row stays for the record
 */
export const INSTANCE_STATES = ['starting', 'ready', 'serving', 'warm', 'standby', 'removed'] as const
export type InstanceState = (typeof INSTANCE_STATES)[number]

export const INSTANCE_NEXT = {
  starting: ['ready', 'standby', 'removed'],
  ready: ['serving', 'standby', 'removed'],
  serving: ['warm', 'standby', 'removed'],
  warm: ['serving', 'starting', 'standby', 'removed'],
  standby: ['starting', 'serving', 'removed'],
  removed: [],
} as const satisfies Record<InstanceState, readonly InstanceState[]>

export function canMoveInstance(from: InstanceState, to: InstanceState): boolean {
  return from === to || (INSTANCE_NEXT[from] as readonly InstanceState[]).includes(to)
}
