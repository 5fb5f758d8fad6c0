import { ShiplockError } from '../core/errors.ts'
import { artifactDirectoryOf, artifactOf } from './artifact.ts'
import { configOf } from './build.ts'
import { done, type Stage, skipped } from './stage.ts'

/** Vulnerability scan of the final artifact. HIGH warns, CRITICAL blocks (by policy); what is live keeps serving. */
export const scan: Stage = {
  name: 'scan',

  async run(context) {
    const config = configOf(context).scan
    if (!config.enabled) return skipped('scan: off')
    const artifact = artifactOf(context)
    const verdict = await context.drivers.scanner.scan({
      artifact,
      artifactDirectory: await artifactDirectoryOf(context.drivers, artifact),
      config,
      onLine: (line) => context.log('engine', line),
      signal: context.signal,
    })
    if (verdict.outcome === 'blocked') throw new ShiplockError('SCAN_BLOCKED', verdict.note, { details: { ...verdict } })
    const warnings = verdict.outcome === 'warned' ? [verdict.note] : []
    const outcome = verdict.outcome === 'skipped' || verdict.outcome === 'unknown' ? skipped : done
    return outcome(verdict.note, { facts: { scan: verdict, warnings } })
  },
}
