import { resolve } from 'node:path'
import { listServices, resolveService } from '../../config/resolve.ts'
import { EXIT_CODES } from '../../core/errors.ts'
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
