import { afterAll, beforeAll, beforeEach, test } from 'vitest'
import { CrashStory, crashMatrix, OTHER_WAYS } from '../support/crash-story.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { StoryWorld } from '../support/story-world.ts'

const missing = dockerdMissing()
const LONG = 240_000
let story: CrashStory
beforeAll(async () => {
  if (missing === null) story = await CrashStory.begin(await sharedDockerd())
}, LONG)
afterAll(async () => {
  await StoryWorld.endAll()
  if (missing === null) console.log(`resumed after the start of the process in ms (ready / settled):\n${story.resumes.join('\n')}`)
})
beforeEach((context) => context.skip(missing !== null, missing ?? ''))

const title = 'leaves nothing half done, in the engine neither'

test.each(crashMatrix('containers'))(
  `I5: kill -9 at %s ${title}`,
  async (point, scenario) => {
    await story.crashAt(point, scenario)
  },
  LONG,
)

test.each(OTHER_WAYS)(
  `I5: kill -9 during %s at %s ${title}`,
  async (_name, point, scenario) => {
    await story.crashAt(point, scenario)
  },
  LONG,
)
