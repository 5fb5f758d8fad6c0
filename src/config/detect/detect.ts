import { ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { Artifact } from '../../domain/deployment.ts'
import type { SourceFiles } from '../source-files.ts'
import { denoDetector } from './deno.ts'
import type { Detection, DetectionContext, Detector } from './detector.ts'
import { dockerfileDetector } from './dockerfile.ts'
import { dotnetDetector } from './dotnet.ts'
import { goDetector } from './go.ts'
import { javaDetector } from './java.ts'
import { nearestThing } from './nearest-thing.ts'
import { nodeDetector } from './node.ts'
import { platformWords, withPlatforms } from './other-platforms.ts'
import { phpAppDetector, phpDetector } from './php.ts'
import { besidesWeb, readProcfile } from './procfile.ts'
import { djangoDetector, pythonDetector } from './python.ts'
import { inPython, withPython3 } from './python-start.ts'
import { rubyDetector } from './ruby.ts'
import { rustDetector } from './rust.ts'
import { staticSiteDetector } from './static-site.ts'

/** In this order; the first that recognises the directory is taken. */
const DETECTORS: readonly Detector[] = [
  dockerfileDetector,
  // Applications that often have a package.json beside them, for their styles.
  djangoDetector,
  phpAppDetector,
  rubyDetector,
  javaDetector,
  denoDetector,
  nodeDetector,
  pythonDetector,
  goDetector,
  rustDetector,
  dotnetDetector,
  phpDetector,
  staticSiteDetector,
]

const NO_ENGINE = 'Dockerfile is there, but no container engine answers'
const ENGINE_HINT =
  'Start Docker or Podman where the server runs (SHIPLOCK_CONTAINER_ENGINE names its socket), or say in shiplock.yaml how to build and start it without: build.buildCommands, run.start.'

type Found = Extract<Detection, { found: true }>

/**
 * What a directory without configuration is. `artifacts` says what the runtime can run: without images a Dockerfile is passed over,
 * and that is said. Throws CONFIG_NOT_FOUND with the nearest thing that is there, and in its details everything that was looked for.
 */
export async function detect(
  files: SourceFiles,
  artifacts: readonly Artifact['kind'][],
  context: DetectionContext = { isStartKnown: false, choice: 'auto' },
): Promise<Found> {
  const passedOver: string[] = []
  const lookedFor: string[] = []
  const because = new Set<string>()
  const hints = new Map<string, string>()
  for (const detector of context.choice === 'dockerfile' ? [dockerfileDetector] : DETECTORS) {
    const detection = await detector.detect(files, context)
    if (!detection.found) {
      if (detection.because !== null) because.add(detection.because)
      if (detection.because !== null && detection.hint !== undefined) hints.set(detection.because, detection.hint)
      lookedFor.push(detection.because ?? `${detection.lookedFor}: not there`)
    } else if (detector === dockerfileDetector && context.choice === 'recipe') {
      passedOver.push('Dockerfile is there, but a recipe was asked for')
      lookedFor.push('Dockerfile is there, but a recipe was asked for')
    } else if (detector === dockerfileDetector && context.choice === 'auto' && !artifacts.includes('image')) {
      passedOver.push(`${NO_ENGINE}, so something else was looked for`)
      lookedFor.push(NO_ENGINE)
      because.add(NO_ENGINE)
    } else return withProcfile(files, context, { ...detection, reasons: [...passedOver, ...detection.reasons] })
  }
  const named = context.isStartKnown ? null : await startElsewhere(files, artifacts, context)
  if (named !== null) return named
  const nearest = await nearestThing(files, [...because])
  throw new ShiplockError('CONFIG_NOT_FOUND', `nothing here says how to run this: ${nearest.sentence}`, {
    details: { lookedFor },
    hint: because.has(NO_ENGINE) ? ENGINE_HINT : (hints.get(nearest.sentence) ?? nearest.hint),
  })
}

/** Where no start is found and another platform's file names one: that, over the build that is recognised. */
async function startElsewhere(
  files: SourceFiles,
  artifacts: readonly Artifact['kind'][],
  context: DetectionContext,
): Promise<Found | null> {
  const words = (await platformWords(files)).find(({ start }) => start !== null)
  if (words?.start === undefined || words.start === null || context.choice === 'dockerfile') return null
  const found = await detect(files, artifacts, { ...context, isStartKnown: true }).catch(() => null)
  if (found === null || found.input.run?.staticRoot !== undefined) return null
  const start = found.what.startsWith('Python') ? inPython(withPython3(words.start)) : words.start
  const reasons = [...found.reasons, `${words.file} names the start: \`${printable(words.start)}\``]
  return withPlatforms(files, { ...found, input: { ...found.input, run: { start } }, reasons })
}

/** What a Procfile says besides the start, where a start is detected at all. */
async function withProcfile(files: SourceFiles, { isStartKnown }: DetectionContext, found: Found): Promise<Found> {
  if (isStartKnown || found.input.run?.start === undefined) return found
  const { release, reasons } = besidesWeb(await readProcfile(files))
  const deploy = release === null ? found.input.deploy : { releaseCommand: release, ...found.input.deploy }
  const input = { ...found.input, ...(deploy === undefined ? {} : { deploy }) }
  return withPlatforms(files, { ...found, input, reasons: [...found.reasons, ...reasons] })
}
