import { basename } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import type { Dialect, ParsedService } from './dialects/dialect.ts'
import { DIALECTS } from './dialects/dialects.ts'
import { nearest } from './nearest.ts'
import type { SourceFiles } from './source-files.ts'

/** A configuration file of a source, read and checked. */
export interface ConfigFile {
  readonly name: string
  readonly dialect: Dialect
  readonly services: readonly ParsedService[]
}

/**
 * Looked for in the service's directory first, then at the top of the source; null when there is none.
 * A named file counts from the top.
 */
export async function findConfigFile(files: SourceFiles, root: SourceFiles, configPath: string | null): Promise<ConfigFile | null> {
  if (configPath !== null) return readNamed(files, configPath)
  for (const place of root === files ? [root] : [root, files]) {
    for (const dialect of DIALECTS) {
      const found = await findOf(dialect, place)
      if (found !== null) return found
    }
  }
  return null
}

async function readNamed(files: SourceFiles, path: string): Promise<ConfigFile> {
  // A name that no dialect claims is read as the native file.
  const dialect = DIALECTS.find(({ fileNames }) => fileNames.includes(basename(path))) ?? DIALECTS[0]
  const text = await files.read(path, LIMITS.configBytes)
  if (dialect === undefined || text === null)
    throw new ShiplockError('CONFIG_NOT_FOUND', `the configuration file ${printable(path)} does not exist in the source`, {
      hint: 'Check the path; it counts from the top of the source.',
    })
  return { name: path, dialect, services: dialect.parse(text, path).services }
}

async function findOf(dialect: Dialect, place: SourceFiles): Promise<ConfigFile | null> {
  const present: string[] = []
  for (const name of dialect.fileNames) if (await place.has(name)) present.push(name)
  const [name, other] = present
  if (name === undefined) return null
  if (other !== undefined)
    throw new ShiplockError('CONFIG_INVALID', `both ${name} and ${other} are there`, { hint: 'Keep one of the two files.' })
  const text = (await place.read(name, LIMITS.configBytes)) ?? ''
  return { name, dialect, services: dialect.parse(text, name).services }
}

/** The service that is meant; the only one when nothing is said. */
export function chooseService(file: ConfigFile, wanted: string | null): ParsedService {
  const names = file.services.map((service) => service.name)
  const [only] = file.services
  if (wanted === null) {
    if (only !== undefined && file.services.length === 1) return only
    throw new ShiplockError('CONFIG_INVALID', `${printable(file.name)} has ${names.length} services: ${names.join(', ')}`, {
      hint: 'Say which one.',
      details: { services: names },
    })
  }
  const service = file.services.find(({ name }) => name === wanted)
  if (service !== undefined) return service
  const near = nearest(wanted, names)
  throw new ShiplockError(
    'CONFIG_INVALID',
    `${printable(file.name)} has no service ${printable(wanted)}; it has ${names.join(', ')}${near === null ? '' : ` (did you mean ${near}?)`}`,
    { hint: 'Name a service that the file has, or add it to the file.', details: { services: names } },
  )
}
