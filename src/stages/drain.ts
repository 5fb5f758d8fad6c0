import { configOf } from './build.ts'
import { done, type Stage, skipped } from './stage.ts'

/** The replaced instances get no new requests; theirs in flight finish, up to `drainTimeout`. The edge's report completes the receipt. */
export const drain: Stage = {
  name: 'drain',

  async run(context) {
    context.crashPoint('drain.before')
    const old = context.others.filter((instance) => instance.state === 'warm')
    if (old.length === 0) return skipped('nothing was replaced')
    const report = await context.drivers.edge.drain(
      context.deployment.serviceEnvironmentId,
      old.map((instance) => instance.id),
      { timeoutMs: configOf(context).deploy.drainTimeoutMs, fence: context.fence },
    )
    context.crashPoint('drain.done-not-recorded')
    const { flipMs = 0, gapMs = null } = context.facts.receipt ?? {}
    const cut = report.cutConnections === 0 ? '' : `, ${report.cutConnections} cut at the deadline`
    return done(`${report.requests} requests since the swap, ${report.failures} failed; ${report.drainedConnections} drained${cut}`, {
      facts: { receipt: { ...report, flipMs, gapMs } },
    })
  },
}
