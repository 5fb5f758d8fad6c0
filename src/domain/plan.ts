/** What a project may be limited to, as data; a missing key = the server's own limit. `previews` bounds those that stand at once. */
export const PLAN_KEYS = ['retention', 'services', 'environments', 'concurrentBuilds', 'previews'] as const
export type PlanKey = (typeof PLAN_KEYS)[number]
export type PlanLimits = { readonly [Key in PlanKey]?: number | undefined }
