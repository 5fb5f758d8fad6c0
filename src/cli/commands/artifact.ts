import { createWriteStream } from 'node:fs'
import { rename, rm, stat } from 'node:fs/promises'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatBytes } from '../format.ts'
import { parseRelease } from './releases.ts'

export interface ArtifactOptions extends CommonOptions {
  readonly output?: string
}

/** `shiplock artifact v3`: the file tree of a release as tar.gz. */
export async function artifact(given: string, options: ArtifactOptions, context: CliContext): Promise<number> {
  const { terminal, signal } = context
  const connection = await context.connect()
  const service = await requireServiceName(undefined, options, connection)
  const release = parseRelease(given)
  const body = await connection.client.download('getReleaseArtifact', { params: { service, release }, query: scopeOf(options), signal })
  const file = resolve(context.workingDirectory, options.output ?? `${service}-v${release}.tar.gz`)
  const partial = `${file}.partial`
  try {
    await pipeline(Readable.fromWeb(body as Parameters<typeof Readable.fromWeb>[0]), createWriteStream(partial), { signal })
    await rename(partial, file)
  } finally {
    await rm(partial, { force: true })
  }
  const { size } = await stat(file)
  if (terminal.isJson) terminal.json({ service, release, file, bytes: size })
  else terminal.print(`${printable(file)}  ${formatBytes(size)}`)
  return EXIT_CODES.ok
}
