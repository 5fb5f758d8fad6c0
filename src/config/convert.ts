import { Document, isMap, type Scalar } from 'yaml'
import { ShiplockError } from '../core/errors.ts'
import { printable } from '../core/printable.ts'
import { findConfigFile } from './config-file.ts'
import type { ParsedService } from './dialects/dialect.ts'
import { SourceFiles } from './source-files.ts'

export interface Conversion {
  /** The file that was read. */
  readonly from: string
  /** The same as a native file, which resolves to the same configuration. */
  readonly text: string
  /** What the native file can't say in the same words, by service. */
  readonly notes: readonly { readonly service: string; readonly notes: readonly string[] }[]
}

/** The native file that says what a file of another platform says. Throws CONFIG_NOT_FOUND, CONFIG_INVALID. */
export async function convertManifest(request: { readonly directory: string; readonly configPath: string | null }): Promise<Conversion> {
  const files = await SourceFiles.open(request.directory)
  const file = await findConfigFile(files, files, request.configPath)
  if (file === null) {
    throw new ShiplockError('CONFIG_NOT_FOUND', 'there is no configuration file to convert', {
      hint: '`shiplock config explain` shows what is detected without one.',
    })
  }
  if (file.dialect.name === 'shiplock') {
    throw new ShiplockError('CONFIG_INVALID', `${printable(file.name)} is a native file already`, {
      hint: 'Name the file to convert with --config.',
    })
  }
  const notes = file.services.map((service) => ({ service: service.name, notes: notesOf(service, file.dialect.name) }))
  return { from: file.name, text: nativeText(file.name, file.services, notes), notes }
}

function notesOf({ input, notes }: ParsedService, dialect: string): string[] {
  const hasHome = dialect === 'zerops' && (input.run?.prepareCommands ?? []).length > 0
  return [
    ...notes,
    ...(hasHome ? ['run.prepareCommands work in /home/shiplock, no longer in /home/zerops: mind scripts that name it'] : []),
  ]
}

function nativeText(from: string, services: readonly ParsedService[], notes: Conversion['notes']): string {
  const data = { services: Object.fromEntries(services.map(({ name, input }) => [name, input])) }
  // Values that stand twice are written twice: nobody expects anchors in a file that he is going to edit.
  const document = new Document(data, { aliasDuplicateObjects: false, version: '1.2' })
  document.commentBefore = ` Made from ${printable(from)} by \`shiplock config convert\`.\n yaml-language-server: $schema=node_modules/shiplock/schema/shiplock.schema.json`
  const map = document.get('services')
  for (const pair of isMap(map) ? map.items : []) {
    const key = pair.key as Scalar
    const own = notes.find(({ service }) => service === key.value)?.notes ?? []
    if (own.length > 0) key.commentBefore = own.map((note) => ` ${printable(note)}`).join('\n')
  }
  // Never folded: a command that stands in two lines is read as one shell with two.
  return document.toString({ lineWidth: 0, indentSeq: true })
}
