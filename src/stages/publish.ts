import { artifactOf } from './artifact.ts'
import { done, type Stage, skipped } from './stage.ts'

/**
 * Pushes the scanned digest to the registry. Without one: recorded as kept local. With it the release comes into being.
 * The artifact keeps the digest that was built and scanned; its reference becomes the one by which any host can pull it.
 */
export const publish: Stage = {
  name: 'publish',

  async run(context) {
    const artifact = artifactOf(context)
    const { isReused, ...published } = await context.drivers.registry.publish({
      artifact,
      repository: `${context.names.project}/${context.names.service}`,
      onLine: (line) => context.log('engine', line),
      signal: context.signal,
    })
    context.crashPoint('publish.done-not-recorded')
    const { reference } = published
    const outcome = reference === null || isReused === true ? skipped : done
    return outcome(published.note, {
      facts: { published, ...(artifact.kind === 'image' && reference !== null ? { artifact: { ...artifact, reference } } : {}) },
    })
  },
}
