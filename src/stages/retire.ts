import { rm } from 'node:fs/promises'
import { configOf } from './build.ts'
import { done, type Stage, type StageEvent, skipped } from './stage.ts'

/** The old instances stop and stay as standby; the reaper deletes them when that is over. They were marked when the stage was entered. */
export const retire: Stage = {
  name: 'retire',

  async run(context) {
    context.crashPoint('retire.before')
    await rm(context.directories.workspace, { recursive: true, force: true })
    await rm(context.directories.scratch, { recursive: true, force: true })
    const { runtime } = context.drivers
    const { stopTimeoutMs } = configOf(context).deploy
    const old = context.others.filter((instance) => instance.state === 'standby')
    const events: StageEvent[] = []
    await Promise.all(
      old.map(async (instance) => {
        if ((await runtime.inspect(instance.id)).state !== 'running') return
        const report = await runtime.stop(instance.id, { timeoutMs: stopTimeoutMs }, context.fence)
        const how = report.killed ? `killed after ${stopTimeoutMs / 1000} s` : `stopped in ${Math.round(report.tookMs)} ms`
        events.push({
          type: 'instance.stopped',
          message: `old instance ${instance.index} ${how}`,
          instanceId: instance.id,
          data: { ...report },
        })
      }),
    )
    context.crashPoint('retire.stopped-not-recorded')
    if (events.length === 0) return skipped('no old instance was running')
    return done(`${events.length} old ${events.length === 1 ? 'instance' : 'instances'} stopped, kept as standby`, { events })
  },
}
