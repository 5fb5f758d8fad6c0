import { z } from 'zod'
import { id, integer, name, text, timestamp } from './primitives.ts'
import type { RouteSpec } from './route.ts'

const NUMBER_MAX = 2_147_483_647
const TTL_SECONDS_MAX = 90 * 24 * 3600
const TTL_SECONDS_DEFAULT = 7 * 24 * 3600
const PREVIEWS_MAX = 1000
const PREVIEWS_DEFAULT = 10

/** How pull and merge requests get environments of their own. */
export const PreviewSettings = z
  .strictObject({
    template: name.meta({ description: 'Environment whose variables a preview starts from; its secrets stay with it.' }),
    baseBranch: text(200).min(1).nullable().default(null).meta({ description: 'Only requests into this branch; null = any.' }),
    label: text(100).min(1).nullable().default(null).meta({ description: 'Only requests that carry it; null = all.' }),
    drafts: z.boolean().default(true),
    forks: z
      .enum(['never', 'approve'])
      .default('approve')
      .meta({ description: 'approve: each commit of a fork waits for somebody’s word.' }),
    ttlSeconds: z
      .number()
      .int()
      .min(60)
      .max(TTL_SECONDS_MAX)
      .default(TTL_SECONDS_DEFAULT)
      .meta({ description: 'Since the last push, after which a preview goes.' }),
    max: z
      .number()
      .int()
      .min(1)
      .max(PREVIEWS_MAX)
      .default(PREVIEWS_DEFAULT)
      .meta({ description: 'At once, in the project; its plan may allow fewer.' }),
  })
  .meta({ id: 'PreviewSettings' })

export const Preview = z
  .strictObject({
    number: z.number().int(),
    project: z.string(),
    repository: z.string(),
    environment: z.string().nullable().meta({ description: 'null: it has none yet, and waits for an approval.' }),
    state: z.enum(['standing', 'waiting', 'removing']),
    commit: z.string(),
    branch: z.string(),
    author: z.string(),
    title: z.string(),
    fork: z.boolean(),
    services: z.array(z.strictObject({ service: z.string(), url: z.string(), status: z.string().nullable() })),
    waitsFor: z
      .strictObject({ commit: z.string(), author: z.string(), title: z.string(), since: timestamp })
      .nullable()
      .meta({ description: 'The newest commit of a fork that somebody has to approve.' }),
    expiresAt: timestamp.nullable(),
    createdAt: timestamp,
  })
  .meta({ id: 'Preview' })
export type Preview = z.infer<typeof Preview>

const byNumber = z.strictObject({ number: integer(1, NUMBER_MAX) })
const repository = text(2048).min(1).optional().meta({ description: 'Where two repositories of a project have a request of that number.' })
const inProject = z.strictObject({ project: name.optional(), repository })

export const PREVIEW_ROUTES = {
  listPreviews: {
    method: 'get',
    path: '/v1/previews',
    tag: 'previews',
    needs: { verb: 'read', within: 'project' },
    summary: 'Previews of a project, and what waits for an approval',
    query: z.strictObject({ project: name.optional() }),
    response: z.strictObject({ items: z.array(Preview), next: z.null() }),
    status: 200,
  },
  getPreview: {
    method: 'get',
    path: '/v1/previews/{number}',
    tag: 'previews',
    needs: { verb: 'read', within: 'project' },
    summary: 'The preview of one pull or merge request',
    params: byNumber,
    query: inProject,
    response: Preview,
    status: 200,
  },
  approvePreview: {
    method: 'post',
    path: '/v1/previews/{number}/approve',
    tag: 'previews',
    needs: { verb: 'operate', within: 'project' },
    audit: { action: 'preview.approve', tells: ['number', 'commit', 'repository'] },
    summary: 'Let one commit of a fork be built and run here; what is pushed afterwards needs another word',
    params: byNumber,
    body: z
      .strictObject({
        project: name.optional(),
        repository,
        commit: z.string().regex(/^[0-9a-f]{40,64}$/, 'is not a whole commit id'),
      })
      .meta({ id: 'ApprovePreview' }),
    response: z.strictObject({ number: z.number().int(), commit: z.string(), deliveryId: id }).meta({ id: 'ApprovedPreview' }),
    status: 202,
  },
  removePreview: {
    method: 'delete',
    path: '/v1/previews/{number}',
    tag: 'previews',
    needs: { verb: 'operate', within: 'project' },
    audit: { action: 'preview.remove', tells: ['number', 'repository'] },
    summary: 'Remove a preview before its request is closed; the next push makes it again',
    params: byNumber,
    query: inProject,
    response: Preview,
    status: 202,
  },
} as const satisfies Record<string, RouteSpec>
