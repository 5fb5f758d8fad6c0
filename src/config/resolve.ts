import { basename } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import type { Artifact } from '../domain/deployment.ts'
import type { ServiceConfig } from '../domain/service-config.ts'
import { buildKindOf, buildService, type ExplainEntry } from './build-service.ts'
import { type ConfigFile, chooseService, findConfigFile } from './config-file.ts'
import { detect } from './detect/detect.ts'
import type { BuildChoice, Detection } from './detect/detector.ts'
import type { ParsedService } from './dialects/dialect.ts'
import { SERVICE_NAME } from './manifest/fields.ts'
import type { ServiceInput } from './manifest/schema.ts'
import { normalizeName } from './normalize-name.ts'
import { SourceFiles } from './source-files.ts'
import { valueAt } from './value-at.ts'

export interface ResolveRequest {
  /** The fetched source. */
  readonly directory: string
  /** Which service of the file; null = the only one, or a name made from the directory where nothing names it. */
  readonly serviceName: string | null
  /** Configuration file inside the source; null = look for the known names. */
  readonly configPath: string | null
  /** Directory inside the source that holds the service; null = the source itself. */
  readonly rootDirectory: string | null
  /** What the runtime can run. Default: both. Without images, detection passes a Dockerfile over. */
  readonly artifacts?: readonly Artifact['kind'][]
  /** What to detect where the file leaves the build open. Default: `auto`, a Dockerfile before all else. */
  readonly build?: BuildChoice
}

export interface ResolvedService {
  readonly config: ServiceConfig
  /** `shiplock.yaml`, or what was detected: `Node.js app (package.json)`. */
  readonly origin: string
  readonly explanation: readonly ExplainEntry[]
  /** What was detected and why, a sentence each; empty when the file says it all. */
  readonly detected: readonly string[]
  /** What the file asks for that was left out or done in another way, a sentence each. */
  readonly notes: readonly string[]
}

type Found = Extract<Detection, { found: true }>

const ALL_ARTIFACTS: readonly Artifact['kind'][] = ['tree', 'image']

/**
 * The configuration of one service of a fetched source: its file, completed by detection where the file leaves build or start open,
 * completed by defaults. Throws CONFIG_INVALID or CONFIG_NOT_FOUND.
 */
export async function resolveService(request: ResolveRequest): Promise<ResolvedService> {
  const { files, root } = await openSource(request)
  const file = await findConfigFile(files, root, request.configPath)
  if (file === null) return resolveDetected(root, request)
  const service = chooseService(file, request.serviceName)
  const needed = whatIsOpen(service.input)
  if (needed !== 'build') assertChoice(file.name, buildKindOf(service.input.build), request.build)
  const found = needed === null ? null : await detectFor(root, request, file, service, needed)
  const input = found === null ? service.input : complete(service.input, found.input)
  if (service.input.build?.env !== undefined && buildKindOf(input.build) !== 'recipe')
    throw new ShiplockError('CONFIG_INVALID', `${printable(file.name)}: build.env is for recipes, and a Dockerfile was detected`, {
      hint: 'Give build.args instead, or say buildCommands.',
    })
  const { config, explanation } = buildService(service.name, input, (path) => {
    if (found !== null && valueAt(service.input, path.split('.')) === undefined) return `detected (${found.what})`
    const position = service.locate(path)
    return position === null ? `${file.name} (default of this file format)` : `${file.name}:${position.line}`
  })
  return { config, origin: file.name, explanation, detected: found?.reasons ?? [], notes: service.notes }
}

/** The configuration of a ready image, which brings no file along: defaults, and what the image itself says about command and ports. */
export function resolveImage(serviceName: string, reference: string): ResolvedService {
  const origin = 'image'
  const { config, explanation } = buildService(serviceName, { build: { image: reference } }, () => 'the command line')
  return { config, origin, explanation, detected: [], notes: [] }
}

/** Names of the services that the source's file holds; the one that detection would make when there is no file. */
export async function listServices(request: Omit<ResolveRequest, 'serviceName'>): Promise<readonly string[]> {
  const { files, root } = await openSource(request)
  const file = await findConfigFile(files, root, request.configPath)
  return file === null ? [normalizeName(basename(root.root))] : file.services.map((service) => service.name)
}

async function openSource(request: Pick<ResolveRequest, 'directory' | 'rootDirectory'>) {
  const files = await SourceFiles.open(request.directory)
  const root = request.rootDirectory === null ? files : await files.inside(request.rootDirectory, 'the root directory')
  return { files, root }
}

async function resolveDetected(root: SourceFiles, request: ResolveRequest): Promise<ResolvedService> {
  const name = request.serviceName ?? normalizeName(basename(root.root))
  if (!SERVICE_NAME.test(name)) throw new ShiplockError('CONFIG_INVALID', `${printable(name)} is no service name`)
  const found = await detect(root, request.artifacts ?? ALL_ARTIFACTS, { isStartKnown: false, choice: request.build ?? 'auto' })
  const { config, explanation } = buildService(name, found.input, () => `detected (${found.what})`)
  return { config, origin: found.what, explanation, detected: found.reasons, notes: [] }
}

/** What the file leaves to detection: all of the build, or only the start of what it builds. */
function whatIsOpen(input: ServiceInput): 'build' | 'start' | null {
  const kind = buildKindOf(input.build)
  if (kind === null) return 'build'
  const hasStart = input.run?.start !== undefined || input.run?.staticRoot !== undefined
  return kind === 'recipe' && !hasStart ? 'start' : null
}

/** The file has decided; a flag that says otherwise is a mistake, not a wish. */
function assertChoice(file: string, kind: string | null, choice: BuildChoice = 'auto'): void {
  if (choice === 'auto' || kind === null || kind === choice) return
  throw new ShiplockError('CONFIG_INVALID', `${printable(file)} asks for a build of kind ${kind}, and --build ${choice} was given`, {
    hint: 'Leave --build out, or the build section; --build decides only where the file leaves it open.',
  })
}

async function detectFor(
  root: SourceFiles,
  request: ResolveRequest,
  file: ConfigFile,
  service: ParsedService,
  open: 'build' | 'start',
): Promise<Found | null> {
  const missing = `services.${service.name} says nothing about ${open === 'build' ? 'build' : 'run.start'}`
  // A recipe needs something to run in a tree, so a Dockerfile can't tell its start.
  const artifacts: readonly Artifact['kind'][] = open === 'start' ? ['tree'] : (request.artifacts ?? ALL_ARTIFACTS)
  const isStartKnown = service.input.run?.start !== undefined || service.input.run?.staticRoot !== undefined
  const choice = open === 'start' ? 'auto' : (request.build ?? 'auto')
  const found = await detect(root, artifacts, { isStartKnown, choice }).catch((error: unknown) => {
    if (!(error instanceof ShiplockError) || error.code !== 'CONFIG_NOT_FOUND') throw error
    return error
  })
  if (!(found instanceof ShiplockError)) return { ...found, reasons: [`${missing}, so it was detected: ${found.what}`, ...found.reasons] }
  // With a start command and nothing to build, the source itself is what runs.
  if (isStartKnown) return null
  throw new ShiplockError('CONFIG_INVALID', `${printable(file.name)}: ${missing}, and ${found.message}`, {
    hint: open === 'build' ? 'Add a build section, or run.start.' : 'Add run.start (a command) or run.staticRoot (a directory).',
    details: found.details,
  })
}

/** Fills what the file leaves open; what it says is kept as it is. */
function complete(input: ServiceInput, found: ServiceInput): ServiceInput {
  const isBuildOpen = buildKindOf(input.build) === null
  const hasStart = input.run?.start !== undefined || input.run?.staticRoot !== undefined
  return {
    ...input,
    build: isBuildOpen ? { ...found.build, ...input.build } : input.build,
    run: hasStart ? input.run : { ...found.run, ...input.run },
    ...(hasStart || found.deploy === undefined ? {} : { deploy: { ...found.deploy, ...input.deploy } }),
  }
}
