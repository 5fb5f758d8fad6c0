import { z } from 'zod'
import { flag, timestamp } from './primitives.ts'
import type { RouteSpec } from './route.ts'

const counts = z.strictObject({
  images: z.number().int(),
  names: z.number().int().meta({ description: 'Names of ours that went from images which others named too.' }),
  buildCacheBytes: z.number(),
  networks: z.number().int(),
})

const GarbageImage = z
  .strictObject({ id: z.string(), names: z.array(z.string()), bytes: z.number(), why: z.string() })
  .meta({ id: 'GarbageImage' })

export const Garbage = z
  .strictObject({
    dryRun: z.boolean(),
    bytes: z.number().meta({ description: 'What was reclaimed. With a dry run: at most so many, since images share layers.' }),
    removed: counts,
    images: z.array(GarbageImage),
    kept: z.number().int().meta({ description: 'Images of ours that something needs.' }),
    full: z.string().nullable().meta({ description: 'Why nothing new is built at present; null = there is room.' }),
  })
  .meta({ id: 'Garbage' })
export type Garbage = z.output<typeof Garbage>

export const GarbageRun = z
  .strictObject({ at: timestamp, reason: z.enum(['periodic', 'asked', 'disk']), bytes: z.number(), removed: counts })
  .meta({ id: 'GarbageRun' })
export type GarbageRun = z.output<typeof GarbageRun>

/** What nobody needs any more. */
export const GARBAGE_ROUTES = {
  collectGarbage: {
    method: 'post',
    path: '/v1/garbage',
    tag: 'server',
    needs: { verb: 'administer', within: 'server' },
    audit: { action: 'garbage.collect', tells: ['dryRun'] },
    summary: 'Clear up images, build cache and networks that nobody needs; or say what would go',
    query: z.strictObject({ dryRun: flag.default(false) }),
    response: Garbage,
    status: 200,
  },
  listGarbageRuns: {
    method: 'get',
    path: '/v1/garbage',
    tag: 'server',
    needs: { verb: 'administer', within: 'server' },
    summary: 'What was cleared up on this server, newest first',
    response: z.strictObject({ items: z.array(GarbageRun), next: z.null() }),
    status: 200,
  },
} as const satisfies Record<string, RouteSpec>
