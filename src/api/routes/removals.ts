import { ShiplockError } from '../../core/errors.ts'
import { lockServiceEnvironment } from '../../store/sql/catalog.ts'
import { beginEnvironmentRemoval, beginRemoval } from '../../store/sql/removals.ts'
import type { Handlers } from '../route-context.ts'
import { viewService } from '../views.ts'
import { requireEnvironment } from './projects.ts'
import { requireService } from './scope.ts'
import { readService } from './services.ts'

export const removalHandlers: Handlers<'removeService' | 'removeEnvironment'> = {
  removeService: ({ params, query }, { dependencies, actor, once, tell }) =>
    once(async (tx) => {
      const found = await requireService(tx, { ...query, ...params }, dependencies)
      await beginRemoval(tx, await lockServiceEnvironment(tx, found.id), { by: actor.name, isCanceling: query.cancel === true })
      tell({}, { target: params.service })
      return viewService(await readService(tx, { ...query, ...params }, dependencies), dependencies.urlOf)
    }),

  removeEnvironment: ({ params, query }, { dependencies, actor, once, tell }) => {
    const { environment } = params
    if (query.confirm !== environment) {
      throw new ShiplockError('INPUT_INVALID', 'query.confirm: is not the name of the environment', {
        hint: 'Give the name of the environment again.',
      })
    }
    return once(async (tx) => {
      const project = query.project ?? dependencies.defaults.project
      const { id } = await requireEnvironment(tx, project, environment)
      await beginEnvironmentRemoval(tx, id, { by: actor.name, isCanceling: query.cancel === true })
      tell({}, { target: environment })
      return requireEnvironment(tx, project, environment)
    })
  },
}
