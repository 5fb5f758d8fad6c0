import type { Project } from '../../contract/access.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { PLAN_KEYS, type PlanKey } from '../../domain/plan.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'

export interface LimitOptions extends CommonOptions {
  readonly retention?: string
  readonly services?: string
  readonly environments?: string
  readonly concurrentBuilds?: string
  readonly previews?: string
  readonly none?: boolean
}

export async function projectList(_options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const items: Project[] = []
  for (let cursor: string | undefined; ; ) {
    const page = await client.call('listProjects', { query: { cursor, limit: 200 } })
    items.push(...page.items)
    if (page.next === null) break
    cursor = page.next
  }
  if (terminal.isJson) terminal.json({ projects: items })
  if (items.length === 0) terminal.print('No projects yet. `shiplock project create NAME` makes one.')
  else show(items, terminal)
  return EXIT_CODES.ok
}

export async function projectCreate(name: string, options: LimitOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const project = await client.call('createProject', { body: { name, limits: limitsOf(options) } })
  if (terminal.isJson) terminal.json(project)
  terminal.print(
    `${terminal.colors.green('✔')} project ${project.name}; \`shiplock member add NAME --role developer -p ${name}\` adds people`,
  )
  return EXIT_CODES.ok
}

/** `shiplock project limits NAME`: shows them, or replaces the ones that are named. */
export async function projectLimits(name: string, options: LimitOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const given = limitsOf(options)
  const present = await client.call('getProject', { params: { project: name } })
  const isChange = options.none === true || Object.keys(given).length > 0
  const limits = { ...(options.none === true ? {} : present.limits), ...given }
  const project = isChange ? await client.call('setProjectLimits', { params: { project: name }, body: limits }) : present
  if (terminal.isJson) terminal.json(project)
  show([project], terminal)
  return EXIT_CODES.ok
}

export async function projectDelete(
  name: string,
  options: CommonOptions & { readonly yes?: boolean },
  { connect, terminal, signal }: CliContext,
): Promise<number> {
  if (options.yes !== true) {
    if (!terminal.canAsk) {
      throw new ShiplockError('INPUT_INVALID', 'nobody is there who could confirm', { hint: 'Add --yes to delete it without being asked.' })
    }
    const question = `Delete project ${name} with its environments, releases, variables, members and tokens?`
    if (!(await terminal.confirm(question, signal))) return EXIT_CODES.canceled
  }
  const { client } = await connect()
  await client.call('deleteProject', { params: { project: name }, query: { confirm: name } })
  if (terminal.isJson) terminal.json({ deleted: name })
  terminal.print(`${terminal.colors.green('✔')} project ${name} is gone`)
  return EXIT_CODES.ok
}

function show(projects: readonly Project[], terminal: CliContext['terminal']): void {
  const now = Date.now()
  const rows = projects.map((project) => [
    project.name,
    countOf(project.services, project.limits.services),
    countOf(project.environments, project.limits.environments),
    PLAN_KEYS.flatMap((key) => (project.limits[key] === undefined ? [] : [`${key} ${project.limits[key]}`])).join(', ') || 'none',
    formatAgo(project.createdAt, now),
  ])
  for (const line of table(['PROJECT', 'SERVICES', 'ENVIRONMENTS', 'LIMITS', 'MADE'], rows, terminal.colors.dim)) terminal.print(line)
}

const countOf = (count: number, max: number | undefined) => (max === undefined ? `${count}` : `${count} of ${max}`)

function limitsOf(options: LimitOptions): Partial<Record<PlanKey, number>> {
  const limits: Partial<Record<PlanKey, number>> = {}
  for (const key of PLAN_KEYS) {
    const given = options[key]
    if (given === undefined) continue
    if (!/^\d{1,5}$/.test(given)) throw new ShiplockError('INPUT_INVALID', `the limit of ${key} must be a whole number`)
    limits[key] = Number(given)
  }
  return limits
}
