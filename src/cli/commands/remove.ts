import { EXIT_CODES, isShiplockError, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'

export interface RemoveOptions extends CommonOptions {
  readonly cancel?: boolean
  readonly confirm?: string
  readonly detach?: boolean
  readonly yes?: boolean
}

const POLL_MS = 250

/** `shiplock service remove SERVICE`: out of one environment, and waits until nothing of it is left. */
export async function serviceRemove(service: string, options: RemoveOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { project, environment } = options
  if (options.yes !== true) {
    const place = environment === undefined ? '' : ` from ${environment}`
    if (!(await confirmed(`Remove ${printable(service)}${place} with its releases and deployments?`, context))) return EXIT_CODES.canceled
  }
  const { client } = await context.connect()
  const place = { project, environment }
  const leaving = await client.call('removeService', { params: { service }, query: { ...place, ...cancelOf(options) } })
  if (options.detach !== true) await gone(() => client.call('getService', { params: { service }, query: place }), context)
  if (terminal.isJson) terminal.json(leaving)
  const state = options.detach === true ? 'is being removed from' : 'is gone from'
  terminal.print(
    `${terminal.colors.green('✔')} ${leaving.service} ${state} ${leaving.environment}; ${printable(leaving.host)} answers no more`,
  )
  return EXIT_CODES.ok
}

/** `shiplock environment delete NAME --confirm NAME`: with all its services and variables. */
export async function environmentDelete(name: string, options: RemoveOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  if (options.confirm !== name) {
    throw new ShiplockError('INPUT_INVALID', '--confirm: is not the name of the environment', {
      hint: `Add --confirm ${printable(name)}: it goes with its services, releases and variables.`,
    })
  }
  const { client } = await context.connect()
  const query = { project: options.project, confirm: name, ...cancelOf(options) }
  const leaving = await client.call('removeEnvironment', { params: { environment: name }, query })
  const isThere = async () => {
    const { items } = await client.call('listEnvironments', { query: { project: options.project } })
    if (items.every((one) => one.id !== leaving.id)) throw new ShiplockError('NOT_FOUND', 'it is gone')
  }
  if (options.detach !== true) await gone(isThere, context)
  if (terminal.isJson) terminal.json(leaving)
  terminal.print(`${terminal.colors.green('✔')} environment ${leaving.name} ${options.detach === true ? 'is being removed' : 'is gone'}`)
  return EXIT_CODES.ok
}

const cancelOf = ({ cancel }: RemoveOptions) => (cancel === true ? { cancel: 'true' as const } : {})

async function confirmed(question: string, { terminal, signal }: CliContext): Promise<boolean> {
  if (terminal.canAsk) return terminal.confirm(question, signal)
  throw new ShiplockError('INPUT_INVALID', 'nobody is there who could confirm', { hint: 'Add --yes to remove it without being asked.' })
}

/** Until what is asked for is not found any more. */
async function gone(look: () => Promise<unknown>, { signal }: CliContext): Promise<void> {
  for (;;) {
    signal.throwIfAborted()
    try {
      await look()
    } catch (error) {
      if (isShiplockError(error, 'NOT_FOUND')) return
      throw error
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
