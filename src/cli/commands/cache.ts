import type { Cache } from '../../contract/cache.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatAgo, formatBytes } from '../format.ts'
import { table } from '../table.ts'
import type { Terminal } from '../terminal.ts'

export const CACHE_LAYERS = ['base', 'build', 'run', 'all'] as const

/** `shiplock cache list`: what builds keep, largest first. */
export async function cacheList(options: CommonOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { client } = await context.connect()
  const service = options.service === undefined ? {} : { service: options.service }
  const { items } = await client.call('listCaches', { query: { ...scopeOf(options), ...service } })
  if (terminal.isJson) terminal.json({ caches: items })
  for (const line of render(items, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

function render(items: readonly Cache[], { colors }: Terminal): string[] {
  if (items.length === 0) return ['No build has kept anything yet.']
  const now = Date.now()
  const rows = items.map((cache) => [
    cache.service,
    cache.environment,
    cache.layer,
    formatBytes(cache.bytes),
    formatAgo(cache.madeAt, now),
    formatAgo(cache.usedAt, now),
  ])
  const total = items.reduce((sum, cache) => sum + cache.bytes, 0)
  return [
    ...table(['SERVICE', 'ENVIRONMENT', 'LAYER', 'SIZE', 'MADE', 'USED'], rows, colors.dim),
    colors.dim(`${formatBytes(total)} in all`),
  ]
}

/** `shiplock cache clear base|build|run|all`. */
export async function cacheClear(layer: (typeof CACHE_LAYERS)[number], options: CommonOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const service = await requireServiceName(undefined, options, connection)
  const cleared = await connection.client.call('clearCache', { params: { service }, query: { ...scopeOf(options), layer } })
  if (terminal.isJson) terminal.json(cleared)
  else {
    if (layer !== 'run') terminal.print(`${service}: ${formatBytes(cleared.bytes)} of build caches cleared`)
    if (layer === 'run' || layer === 'all') {
      terminal.print(
        `${service}: ${cleared.runtimeLayers} runtime ${cleared.runtimeLayers === 1 ? 'layer' : 'layers'} not used for new deployments any more`,
      )
    }
  }
  return EXIT_CODES.ok
}
