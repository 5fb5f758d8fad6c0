import { scale } from '../../engine/commands/scale.ts'
import type { Handlers } from '../route-context.ts'
import { viewService } from '../views.ts'
import { requireService } from './scope.ts'
import { readService } from './services.ts'

export const scaleHandlers: Handlers<'scaleService'> = {
  scaleService: ({ params, query, body }, { dependencies, actor, once }) =>
    once(async (tx) => {
      const found = await requireService(tx, { ...query, ...params }, dependencies)
      await scale(tx, found.id, { instances: body.instances, actor: actor.name })
      return viewService(await readService(tx, { ...query, ...params }, dependencies), dependencies.urlOf)
    }),
}
