import { variableNameProblem } from '../../config/variable-name.ts'
import type { Variable } from '../../contract/server.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { listVariables, setVariables, unsetVariable, type VariableRecord } from '../../store/sql/variables.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

export const variableHandlers: Handlers<'listVariables' | 'setVariables' | 'unsetVariable'> = {
  listVariables: async ({ query }, { dependencies }) => {
    const items = await listVariables(dependencies.database, {
      project: query.project ?? dependencies.defaults.project,
      environment: query.environment,
      service: query.service,
    })
    return { items: items.map((one) => viewOf(one, dependencies)), next: null }
  },

  setVariables: ({ body }, { dependencies, once, tell, actor }) => {
    const scope = { project: body.project ?? dependencies.defaults.project, environment: body.environment, service: body.service }
    const sealed = Object.entries(body.variables).map(([name, value]) => {
      assertVariable(name, value)
      return { name, sealedValue: dependencies.secrets.seal(value), secret: body.secret, forPreviews: body.forPreviews }
    })
    const names = new Set(sealed.map((variable) => variable.name))
    tell({ names: [...names], service: body.service })
    return once(async (tx) => {
      await setVariables(tx, scope, sealed, actor.name)
      const all = await listVariables(tx, { project: scope.project, environment: undefined, service: undefined })
      const items = all.filter((one) => names.has(one.name) && one.environment === scope.environment && one.service === scope.service)
      return { items: items.map((one) => viewOf(one, dependencies)), next: null }
    })
  },

  unsetVariable: ({ params, query }, { dependencies, once }) =>
    once(async (tx) => {
      const scope = {
        project: query.project ?? dependencies.defaults.project,
        environment: query.environment ?? null,
        service: query.service ?? null,
      }
      if (!(await unsetVariable(tx, scope, params.name))) {
        throw new ShiplockError('NOT_FOUND', `no variable ${params.name} in exactly this scope`, {
          hint: '`shiplock env list` shows the scope of each variable.',
          details: scope,
        })
      }
      return null
    }),
}

/** Everything about a variable but its value (I8). */
function viewOf({ sealedValue, ...record }: VariableRecord, { secrets }: ApiDependencies): Variable {
  const about = secrets.describe(sealedValue, `variable ${record.project} ${record.name}`)
  return { ...record, redacted: record.secret && about?.isRecognisable === true, fingerprint: about?.fingerprint ?? null }
}

/** The message never holds the value (I8). */
function assertVariable(name: string, value: string): void {
  const problem = variableNameProblem(name)
  if (problem !== null) throw new ShiplockError('INPUT_INVALID', `body.variables.${name}: ${problem}`)
  if (Buffer.byteLength(value) > LIMITS.variableValueBytes) {
    throw new ShiplockError('INPUT_INVALID', `body.variables.${name}: is larger than ${LIMITS.variableValueBytes} bytes`)
  }
}
