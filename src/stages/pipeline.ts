import type { StageName } from '../domain/deployment-machine.ts'
import { bake } from './bake.ts'
import { build } from './build.ts'
import { drain } from './drain.ts'
import { fetch } from './fetch.ts'
import { launch } from './launch.ts'
import { prepare } from './prepare.ts'
import { publish } from './publish.ts'
import { releaseCommand } from './release-command.ts'
import { retire } from './retire.ts'
import { scan } from './scan.ts'
import type { Stage } from './stage.ts'
import { swap } from './swap.ts'
import { verify } from './verify.ts'

/** The pipeline. `domain/deployment-machine.ts` has the order. */
export const STAGE: Readonly<Record<StageName, Stage>> = {
  fetch,
  build,
  prepare,
  scan,
  publish,
  'release-command': releaseCommand,
  launch,
  verify,
  swap,
  drain,
  bake,
  retire,
}
