import { variableNameProblem } from '../../config/variable-name.ts'
import type { Variable } from '../../contract/server.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { formatBytes } from '../../domain/format-bytes.ts'
import { listVariables, setVariables, unsetVariable, type VariableRecord } from '../../store/sql/variables.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

export const variableHandlers: Handlers<'listVariables' | 'showVariables' | 'setVariables' | 'unsetVariable'> = {
  listVariables: async ({ query }, { dependencies }) => {
    const items = await listVariables(dependencies.database, {
      project: query.project ?? dependencies.defaults.project,
      environment: query.environment,
      service: query.service,
    })
    return { items: items.map((one) => viewOf(one, dependencies)), next: null }
  },

  showVariables: async ({ query }, { dependencies }) => {
    const scope = { project: query.project ?? dependencies.defaults.project, environment: query.environment, service: query.service }
    const items = (await listVariables(dependencies.database, scope)).map(
      ({ name, project, environment, service, secret, sealedValue }) => {
        return { name, project, environment, service, secret, value: secret ? null : dependencies.open(sealedValue) }
      },
    )
    return { items, next: null }
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
      assertSize(all, scope, dependencies)
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

/** Above that no program starts. Of a scope with everything wider, as a deployment there gets it; what the configuration file adds is not known here. */
function assertSize(
  all: readonly VariableRecord[],
  { environment, service }: Pick<VariableRecord, 'environment' | 'service'>,
  { open }: ApiDependencies,
): void {
  const bytesOf = new Map<string, number>()
  for (const one of all) {
    const counts = (one.environment === null || one.environment === environment) && (one.service === null || one.service === service)
    if (counts) bytesOf.set(one.name, Buffer.byteLength(one.name) + Buffer.byteLength(open(one.sealedValue)) + 2)
  }
  const bytes = [...bytesOf.values()].reduce((sum, one) => sum + one, 0)
  if (bytes <= LIMITS.environmentBytes) return
  throw new ShiplockError(
    'INPUT_INVALID',
    `the variables would have ${formatBytes(bytes)} together, more than the ${formatBytes(LIMITS.environmentBytes)} that a program can be started with`,
    {
      hint: 'Nothing was set. Put large contents into files of the project, or leave some out.',
      details: { bytes, bytesMax: LIMITS.environmentBytes },
    },
  )
}
