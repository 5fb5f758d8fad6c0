import { ShiplockError } from '../core/errors.ts'
import { artifactDirectoryOf, artifactOf, runtimeSupportOf } from './artifact.ts'
import { configOf } from './build.ts'
import { labelsOf } from './instance-labels.ts'
import { done, type Stage, StageAbort, type StageContext, skipped } from './stage.ts'

/**
 * One-off command (migrations) in the new artifact with the target's variables, before any new instance exists. Once per deployment:
 * the task's id is the deployment's, and the runtime keeps a finished task's result, so a rerun after a crash finds it. A server that
 * stops, or lost its lease, only stops waiting: the command goes on, and whoever takes up the deployment waits for the same run.
 */
export const releaseCommand: Stage = {
  name: 'release-command',

  async run(context) {
    const config = configOf(context)
    const command = config.deploy.releaseCommand
    if (command === null) return skipped('no deploy.releaseCommand')
    context.crashPoint('release-command.before')
    context.log('command', `$ ${command}`, 'release')
    const artifact = artifactOf(context)
    const { end, letGo } = endings(context.signal)
    const result = await context.drivers.runtime.runTask(
      {
        id: taskIdOf(context),
        labels: labelsOf(context),
        artifact,
        artifactDirectory: await artifactDirectoryOf(context.drivers, artifact),
        ...(await runtimeSupportOf(context.drivers, context.deployment.serviceEnvironmentId, artifact, config)),
        command,
        env: await context.variables(),
        cpu: config.run.cpu,
        memoryMb: config.run.memoryMb,
        timeoutMs: config.deploy.releaseCommandTimeoutMs,
      },
      (line) => context.log('release', line, 'release'),
      context.fence,
      end,
      letGo,
    )
    context.crashPoint('release-command.done-not-recorded')
    const took = `${(result.tookMs / 1000).toFixed(1)} s`
    if (result.overDisk) throw new ShiplockError('DISK_LIMIT', `the release command was stopped after ${took}: ${result.overDisk}`)
    if (result.exitCode !== 0) {
      const how = result.timedOut
        ? `took longer than ${config.deploy.releaseCommandTimeoutMs / 1000} s`
        : `ended with exit code ${result.exitCode}`
      throw new ShiplockError('RELEASE_COMMAND_FAILED', `the release command ${how} after ${took}: ${command}`)
    }
    return done(`exit 0 in ${took}${result.found ? ' (finished before a restart of the server)' : ''}`, {
      facts: { releaseCommand: { exitCode: 0, tookMs: result.tookMs } },
    })
  },

  async undo(context) {
    await context.drivers.runtime.removeTask(taskIdOf(context), context.fence)
  },
}

/** Cancel and time-out end the command; everything else that aborts a stage leaves it to the next owner. */
function endings(signal: AbortSignal): { readonly end: AbortSignal; readonly letGo: AbortSignal } {
  const end = new AbortController()
  const letGo = new AbortController()
  const tell = () => {
    const why = signal.reason instanceof StageAbort ? signal.reason.why : null
    const asked = why === 'canceled' || why === 'timeout' ? end : letGo
    asked.abort(signal.reason)
  }
  if (signal.aborted) tell()
  else signal.addEventListener('abort', tell, { once: true })
  return { end: end.signal, letGo: letGo.signal }
}

function taskIdOf(context: StageContext): string {
  return `task_${context.deployment.id.slice('dep_'.length)}`
}
