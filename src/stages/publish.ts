import { artifactOf } from './artifact.ts'
import { done, type Stage, skipped } from './stage.ts'

/** Pushes the scanned digest to the registry. Without one: recorded as kept local. With it the release comes into being. */
export const publish: Stage = {
  name: 'publish',

  async run(context) {
    const published = await context.drivers.registry.publish({
      artifact: artifactOf(context),
      repository: `${context.names.project}/${context.names.service}`,
      onLine: (line) => context.log('engine', line),
      signal: context.signal,
    })
    return (published.reference === null ? skipped : done)(published.note, { facts: { published } })
  },
}
