import type { Garbage } from '../../contract/garbage.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatBytes } from '../format.ts'
import { table } from '../table.ts'
import type { Terminal } from '../terminal.ts'

export interface GcOptions extends CommonOptions {
  readonly dryRun?: boolean
}

/** `shiplock gc`: clears up what nobody needs, now instead of at the next round. */
export async function gc(options: GcOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { client } = await context.connect()
  const result = await client.call('collectGarbage', { query: { dryRun: options.dryRun === true } })
  if (terminal.isJson) terminal.json(result)
  for (const line of render(result, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

function render({ dryRun, bytes, removed, images, kept, full }: Garbage, { colors, columns }: Terminal): string[] {
  const rows = images.map((image) => [image.id.slice(7, 19), formatBytes(image.bytes), image.names[0] ?? '', image.why].map(printable))
  const rest = [
    ...(removed.buildCacheBytes > 0 ? [`${formatBytes(removed.buildCacheBytes)} of build cache`] : []),
    ...(removed.networks > 0 ? [`${removed.networks} ${removed.networks === 1 ? 'network' : 'networks'}`] : []),
  ]
  const what = [`${images.length} ${images.length === 1 ? 'image' : 'images'}`, ...rest].join(', ')
  return [
    ...(rows.length > 0 ? table(['IMAGE', 'SIZE', 'NAME', 'WHY'], rows, colors.dim, columns) : []),
    dryRun ? `Would go: ${what}, at most ${formatBytes(bytes)}` : `${colors.green('✔')} ${formatBytes(bytes)} reclaimed: ${what}`,
    colors.dim(`${kept} ${kept === 1 ? 'image stays' : 'images stay'}: live, standby, kept releases, in progress`),
    ...(full === null ? [] : [colors.yellow(`Nothing new is built: ${printable(full)}`)]),
  ]
}
