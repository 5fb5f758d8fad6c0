import type { ImageFacts } from '../container-engine/image-facts.ts'
import { ShiplockError } from '../core/errors.ts'

/** An image that says nothing about what to run is refused before anything is started. @throws START_COMMAND_MISSING */
export function assertStartable(facts: Pick<ImageFacts, 'command'>, startCommands: readonly string[], what: string): void {
  if (facts.command !== null || startCommands.length > 0) return
  throw new ShiplockError('START_COMMAND_MISSING', `${what} has neither CMD nor ENTRYPOINT, and the configuration has no run.start`)
}
