import { copyFile, mkdir, open, realpath, stat, writeFile } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { DockerfileBuild } from '../../domain/service-config.ts'

export interface BuildContext {
  /** Absolute, without links in it. */
  readonly directory: string
  readonly dockerfile: string
}

/**
 * Where Dockerfile and context stand, both relative to the service's directory. Links are followed and must end inside of it: the client
 * reads as the server, and what it reads goes into an image (I9). @throws CONFIG_INVALID
 */
export async function locateContext(sourceDirectory: string, build: DockerfileBuild): Promise<BuildContext> {
  const root = await realpath(sourceDirectory)
  const directory = await inside(root, build.context, 'build.context')
  if (!(await stat(directory)).isDirectory()) throw refused('build.context', build.context, 'is not a directory')
  const dockerfile = await inside(root, build.dockerfile, 'build.dockerfile')
  if (!(await stat(dockerfile)).isFile()) throw refused('build.dockerfile', build.dockerfile, 'is not a file')
  // Read by the client as the server's user too.
  for (const file of [`${dockerfile}.dockerignore`, join(directory, '.dockerignore')]) {
    await inside(root, relative(root, file), 'the ignore file').catch((error: unknown) => {
      if (!(error instanceof ShiplockError) || error.details.reason !== 'missing') throw error
    })
  }
  return { directory, dockerfile }
}

/** @throws CONFIG_INVALID for what is too large or no text */
export async function readDockerfile(path: string): Promise<string> {
  const file = await open(path)
  try {
    const { size } = await file.stat()
    if (size > LIMITS.configBytes) throw refused('build.dockerfile', path, `is larger than ${LIMITS.configBytes / 1024} KiB`)
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(await file.readFile())
  } catch (error) {
    throw error instanceof TypeError ? refused('build.dockerfile', path, 'is not UTF-8 text') : error
  } finally {
    await file.close()
  }
}

/** In a directory of its own, since the client shows the builder all that lies beside it; with the ignore file that goes by its name. */
export async function writeDockerfile(directory: string, text: string, { dockerfile }: BuildContext): Promise<string> {
  const path = join(directory, 'Dockerfile')
  await mkdir(directory, { mode: 0o700 })
  await writeFile(path, text, { mode: 0o600 })
  await copyFile(`${dockerfile}.dockerignore`, `${path}.dockerignore`).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
  })
  return path
}

async function inside(root: string, path: string, key: string): Promise<string> {
  const wanted = resolve(root, path)
  if (path.includes('\0') || !isWithin(root, wanted)) throw refused(key, path, 'is outside of the source')
  const found = await realpath(wanted).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') throw refused(key, path, 'is not in the source', 'missing')
    throw refused(key, path, `can not be followed (${error.code})`)
  })
  if (!isWithin(root, found)) throw refused(key, path, 'is a link that leads out of the source')
  return found
}

function isWithin(root: string, path: string): boolean {
  return path === root || path.startsWith(root + sep)
}

function refused(key: string, path: string, what: string, reason = 'refused'): ShiplockError {
  return new ShiplockError('CONFIG_INVALID', `${key}: ${printable(JSON.stringify(path.slice(0, 200)))} ${what}`, {
    hint: 'Paths of Dockerfile and context are relative to the directory of the service and stay in it; --root names that directory.',
    details: { path, reason },
  })
}
