import type { Handlers } from '../route-context.ts'

export const garbageHandlers: Handlers<'collectGarbage' | 'listGarbageRuns'> = {
  collectGarbage: async ({ query }, { dependencies }) => dependencies.garbage.collect(query.dryRun),
  listGarbageRuns: async (_request, { dependencies }) => ({ items: [...(await dependencies.garbage.runs())], next: null }),
}
