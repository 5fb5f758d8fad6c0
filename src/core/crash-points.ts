/**
 * Named places between a side effect and its record, inert unless armed. `test/crash/` kills the server at every one of them.
 * A new `await` between two writes gets a name here.
 */
export const CRASH_POINTS = [
  'claim.committed',
  'fetch.before',
  'fetch.done-not-recorded',
  'build.before',
  'build.sandbox-made',
  'build.done-not-stored',
  'build.stored-not-recorded',
  'prepare.before',
  'prepare.made-not-recorded',
  'prepare.assembled-not-recorded',
  'publish.done-not-recorded',
  'release-command.before',
  'release-command.done-not-recorded',
  'launch.before',
  'network.made',
  'launch.started-not-recorded',
  'verify.before',
  'verify.passed-not-recorded',
  'swap.decided',
  'swap.old-stopped',
  'swap.edge-acknowledged',
  'swap.probed-not-recorded',
  'swap.recorded',
  'drain.before',
  'drain.done-not-recorded',
  'bake.before',
  'bake.trouble-not-recorded',
  'swap-back.decided',
  'swap-back.edge-acknowledged',
  'swap-back.recorded',
  'retire.before',
  'retire.stopped-not-recorded',
  'undo.before',
  'undo.done-not-recorded',
  'settle.recorded',
  'standby.removed-not-recorded',
  'scale.planned',
  'scale.ready-not-joined',
  'scale.joined-not-recorded',
  'scale.left-not-recorded',
  'delivery.decided-not-recorded',
  'delivery.recorded',
  'removal.route-gone-not-recorded',
  'removal.stopped-not-recorded',
  'removal.recorded',
  'rotate-key.decided',
  'rotate-key.written',
  'rotate-key.batch-committed',
  'rotate-key.retired-not-forgotten',
] as const
export type CrashPoint = (typeof CRASH_POINTS)[number]

let armed: { point: CrashPoint; remaining: number } | null = null

/** Only `main.ts` arms, from the setting SHIPLOCK_CRASH_AT=`point` or `point@n` (the nth time). */
export function armCrashPoint(setting: string): void {
  const [name, count] = setting.split('@')
  const point = CRASH_POINTS.find((known) => known === name)
  if (point === undefined) throw new Error(`unknown crash point ${name}`)
  armed = { point, remaining: Number(count ?? 1) }
}

/** Dies as by `kill -9` when armed for this point; otherwise does nothing. */
export function crashPoint(point: CrashPoint): void {
  if (armed === null || armed.point !== point) return
  armed.remaining -= 1
  if (armed.remaining <= 0) process.kill(process.pid, 'SIGKILL')
}
