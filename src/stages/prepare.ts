import { ShiplockError } from '../core/errors.ts'
import { configOf } from './build.ts'
import { type Stage, skipped } from './stage.ts'

/** Runtime image from `run.prepareCommands`. */
export const prepare: Stage = {
  name: 'prepare',

  async run(context) {
    const { run } = configOf(context)
    if (run.prepareCommands.length === 0) return skipped('no run.prepareCommands')
    throw new ShiplockError('CONFIG_INVALID', `run.prepareCommands: the ${context.drivers.runtime.name} runtime has no runtime images`, {
      hint: 'Install what the app needs on the server, or in build.prepareCommands.',
    })
  },
}
