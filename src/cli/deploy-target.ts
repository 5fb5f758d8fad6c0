import { stat } from 'node:fs/promises'
import { basename, resolve } from 'node:path'
import { normalizeName } from '../config/normalize-name.ts'
import { listServices, resolveService } from '../config/resolve.ts'
import type { Source } from '../contract/deployment.ts'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import { parseImageReference } from '../domain/image-reference.ts'
import type { Client } from './client.ts'
import { formatBytes, formatTook } from './format.ts'
import type { Terminal } from './terminal.ts'

/** What `up` and `deploy` were given: code of this machine, or a repository that the server fetches. */
export type DeployTarget =
  | { readonly kind: 'directory'; readonly directory: string; readonly services: readonly string[] }
  | { readonly kind: 'image'; readonly reference: string; readonly services: readonly string[] }
  | { readonly kind: 'git'; readonly url: string; readonly ref: string | null; readonly services: readonly string[] }

export interface TargetOptions {
  readonly service?: string
  readonly ref?: string
  readonly config?: string
  readonly root?: string
  /** A ready image instead of a directory or URL. */
  readonly image?: string
  readonly build?: 'auto' | 'dockerfile' | 'recipe'
}

const GIT_URL = /^(?:https?|ssh|git|file):\/\//i
/** `git@host:path`, as git itself takes it. */
const GIT_SHORT = /^[\w.-]+@[\w.-]+:[^\s]+$/

export function isGitAddress(target: string): boolean {
  return GIT_URL.test(target) || GIT_SHORT.test(target)
}

/** Finds out what is to be deployed, and says what was detected. */
export async function readTarget(
  given: string,
  options: TargetOptions,
  workingDirectory: string,
  terminal: Terminal,
  client: Client,
): Promise<DeployTarget> {
  if (options.image !== undefined) return readImageTarget(given, options.image, options)
  if (isGitAddress(given)) return readGitTarget(given, options)
  const directory = resolve(workingDirectory, given)
  const found = await stat(directory).catch(() => null)
  if (found === null || !found.isDirectory()) {
    throw new ShiplockError('INPUT_INVALID', `${printable(given)} is ${found === null ? 'not there' : 'not a directory'}`, {
      hint: 'Name a directory, or a git URL (https://…, ssh://…, git@host:path, file://…).',
    })
  }
  const place = { directory, configPath: options.config ?? null, rootDirectory: options.root ?? null }
  const { artifacts } = await client.call('getServer')
  const services = options.service === undefined ? await listServices(place) : [options.service]
  for (const service of services) {
    // The server decides again when it fetches; what it can run may change by then.
    const resolved = await resolveService({ ...place, serviceName: service, artifacts, build: options.build ?? 'auto' })
    terminal.print(`  ${terminal.colors.bold(service)}  ${printable(resolved.origin)}`)
    for (const line of [...resolved.detected, ...resolved.notes]) terminal.print(`    ${terminal.colors.dim(printable(line))}`)
  }
  return { kind: 'directory', directory, services }
}

function readImageTarget(given: string, image: string, options: TargetOptions): DeployTarget {
  const reference = parseImageReference(image)
  if ('problem' in reference)
    throw new ShiplockError('IMAGE_REFUSED', `${printable(JSON.stringify(image.slice(0, 200)))} ${reference.problem}`)
  const other = given !== '.' ? given : (options.config ?? options.root ?? options.ref)
  if (other !== undefined) {
    throw new ShiplockError('INPUT_INVALID', `--image takes no ${printable(other)}: an image has no source beside it`, {
      hint: 'Or name the image in a configuration file (build.image), and deploy its directory.',
    })
  }
  return { kind: 'image', reference: image, services: [options.service ?? normalizeName(reference.path.split('/').at(-1) ?? '')] }
}

function readGitTarget(given: string, options: TargetOptions): DeployTarget {
  // The first one: an address has none, a branch may have several.
  const hash = given.indexOf('#')
  const url = hash === -1 ? given : given.slice(0, hash)
  const ref = options.ref ?? (hash === -1 ? null : given.slice(hash + 1) || null)
  const last = basename(
    url
      .replace(/[/:]+$/, '')
      .split(/[/:]/)
      .at(-1) ?? '',
  ).replace(/\.git$/, '')
  return { kind: 'git', url, ref, services: [options.service ?? normalizeName(last)] }
}

/** Where the server takes it from: a directory is packed and uploaded once, whatever the number of its services. */
export async function provideSource(
  target: DeployTarget,
  client: Client,
  project: string | undefined,
  terminal: Terminal,
): Promise<Source> {
  if (target.kind === 'image') return { kind: 'image', reference: target.reference }
  if (target.kind === 'git') return { kind: 'git', url: target.url, ref: target.ref }
  // Loaded when needed: most commands pack nothing.
  const { packDirectory } = await import('../sources/pack-directory.ts')
  const started = performance.now()
  const packed = await packDirectory(target.directory)
  const upload = await client.upload(packed.stream, { project })
  const took = formatTook(performance.now() - started)
  terminal.print(`  ${terminal.colors.green('✔')} packed ${packed.files} files, ${formatBytes(upload.bytes)} sent in ${took}`)
  return { kind: 'upload', digest: upload.digest, label: basename(target.directory).slice(0, 200) }
}
