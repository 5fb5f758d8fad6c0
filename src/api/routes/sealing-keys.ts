import type { Handlers } from '../route-context.ts'

export const sealingKeyHandlers: Handlers<'getSealingKeys' | 'rotateSealingKey'> = {
  getSealingKeys: (_request, { dependencies }) => dependencies.secrets.keys.report(),

  rotateSealingKey: async (_request, { dependencies }) => {
    const { keys } = dependencies.secrets
    await keys.rotate()
    return keys.report()
  },
}
