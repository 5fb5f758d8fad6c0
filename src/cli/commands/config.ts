import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { convertManifest } from '../../config/convert.ts'
import { listServices, resolveService } from '../../config/resolve.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { table } from '../table.ts'
import { fitted } from '../terminal.ts'

export interface ExplainOptions extends CommonOptions {
  readonly config?: string
  readonly root?: string
}

/** `shiplock config explain`: the resolved configuration and where each value came from. Needs no server. */
export async function configExplain(given: string, options: ExplainOptions, { terminal, workingDirectory }: CliContext): Promise<number> {
  const { colors } = terminal
  const place = { directory: resolve(workingDirectory, given), configPath: options.config ?? null, rootDirectory: options.root ?? null }
  const names = options.service === undefined ? await listServices(place) : [options.service]
  const services = await Promise.all(names.map((serviceName) => resolveService({ ...place, serviceName })))
  if (terminal.isJson) {
    terminal.json({ services })
    return EXIT_CODES.ok
  }
  for (const { config, origin, detected, notes, explanation } of services) {
    terminal.print(`${colors.bold(config.name)}  ${printable(origin)}`)
    for (const line of [...detected, ...notes]) terminal.print(`  ${colors.dim(printable(line))}`)
    const rows = explanation.map((entry) => [
      `  ${printable(entry.path)}`,
      fitted(JSON.stringify(entry.value) ?? '', VALUE_WIDTH),
      entry.source === 'default' ? colors.dim('default') : printable(entry.source),
    ])
    for (const line of table(['  KEY', 'VALUE', 'FROM'], rows, colors.dim)) terminal.print(line)
    terminal.print()
  }
  return EXIT_CODES.ok
}
const VALUE_WIDTH = 70

export interface ConvertOptions extends CommonOptions {
  readonly config?: string
  readonly output?: string
  readonly force?: boolean
}

/** `shiplock config convert`: the native file for what a file of another platform says. Needs no server. */
export async function configConvert(given: string, options: ConvertOptions, { terminal, workingDirectory }: CliContext): Promise<number> {
  const directory = resolve(workingDirectory, given)
  const { from, text, notes } = await convertManifest({ directory, configPath: options.config ?? null })
  if (options.output === '-') {
    terminal.draw(text)
    return EXIT_CODES.ok
  }
  const to = options.output === undefined ? join(directory, 'shiplock.yaml') : resolve(workingDirectory, options.output)
  await writeNew(to, text, options.force === true)
  if (terminal.isJson) terminal.json({ from, to, notes })
  const { colors } = terminal
  terminal.print(`${colors.green('✔')} ${printable(from)} → ${printable(to)}`)
  for (const { service, notes: own } of notes)
    for (const note of own) terminal.print(`  ${colors.yellow('!')} ${printable(service)}: ${printable(note)}`)
  terminal.print(colors.dim('  `shiplock config explain` shows what it resolves to; the other file is no longer read.'))
  return EXIT_CODES.ok
}

async function writeNew(path: string, text: string, isForced: boolean): Promise<void> {
  try {
    await writeFile(path, text, { flag: isForced ? 'w' : 'wx' })
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'EEXIST') {
      throw new ShiplockError('CONFLICT', `${printable(path)} exists already`, { hint: 'Overwrite it with --force, or print with -o -.' })
    }
    throw new ShiplockError('INPUT_INVALID', `${printable(path)} can't be written: ${printable(message)}`, { cause: error })
  }
}
