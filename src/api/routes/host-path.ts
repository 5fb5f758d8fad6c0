import { ShiplockError } from '../../core/errors.ts'
import type { Source } from '../../domain/deployment.ts'
import type { RouteContext } from '../route-context.ts'

/** A path on the server's machine opens what the server can read there: only who administers the server names or fetches one. */
export function assertMayUse(source: Source, { dependencies, access }: Pick<RouteContext, 'dependencies' | 'access'>): void {
  if (!dependencies.isHostPath(source) || access.verbs.has('administer')) return
  throw new ShiplockError('FORBIDDEN', 'the source is a path on the server, which only its administrator may deploy from', {
    hint: 'Upload the directory (`shiplock deploy .`), or use an https or ssh URL.',
    details: { verb: 'administer' },
  })
}
