import { z } from 'zod'
import { timestamp } from './primitives.ts'

const layer = z.enum(['base', 'build', 'tools', 'run']).meta({
  description:
    'base: what build.prepareCommands left. build: the paths in build.cache. tools: downloads of npm, pip and the like. run: the runtime layer.',
})

/** One cache of one service and environment. */
export const Cache = z
  .strictObject({
    project: z.string(),
    environment: z.string(),
    service: z.string(),
    layer,
    bytes: z.number(),
    madeAt: timestamp,
    usedAt: timestamp,
  })
  .meta({ id: 'Cache' })
export type Cache = z.output<typeof Cache>

export const ClearedCache = z
  .strictObject({
    service: z.string(),
    layer: z.enum(['base', 'build', 'run', 'all']),
    bytes: z.number().meta({ description: 'What the build caches that are gone had.' }),
    runtimeLayers: z.number().meta({ description: 'Runtime layers that new deployments no longer use. Those of kept releases stay.' }),
  })
  .meta({ id: 'ClearedCache' })
export type ClearedCache = z.output<typeof ClearedCache>
