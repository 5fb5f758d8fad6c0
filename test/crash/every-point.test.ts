import { afterAll, beforeAll, test } from 'vitest'
import { CrashStory, crashMatrix, OTHER_WAYS } from '../support/crash-story.ts'
import { StoryWorld } from '../support/story-world.ts'

let story: CrashStory
beforeAll(async () => {
  story = await CrashStory.begin()
})
afterAll(async () => {
  await StoryWorld.endAll()
  console.log(`resumed after the start of the process in ms (ready / settled):\n${story.resumes.join('\n')}`)
})

test.each(crashMatrix('processes'))('I5: kill -9 at %s leaves nothing half done', (point, scenario) => story.crashAt(point, scenario))

test.each(OTHER_WAYS)('I5: kill -9 during %s at %s leaves nothing half done', (_name, point, scenario) => story.crashAt(point, scenario))
