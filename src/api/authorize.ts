import type { AccessRule, Within } from '../contract/route.ts'
import { ShiplockError } from '../core/errors.ts'
import { type Concern, type Grant, ROLE_VERBS, ROLES, type Role, type Verb, verbsOf } from '../domain/access.ts'
import type { Queryable } from '../store/database.ts'
import { findProjectId } from '../store/sql/catalog.ts'
import { findRowScope } from '../store/sql/row-scope.ts'

/** What the token of a request may do and see. */
export interface Access {
  readonly grant: Grant
  readonly verbs: ReadonlySet<Verb>
  /** Filter of everything that is listed; null = not bounded. */
  readonly visible: Concern
}

/** Of a public route: sees nothing, may nothing. */
export const NO_ACCESS: Access = {
  grant: { role: 'viewer', verbs: [], project: '', environment: '', expiresAt: null },
  verbs: new Set(),
  visible: { project: '', environment: '' },
}

export function accessOf(grant: Grant): Access {
  return { grant, verbs: verbsOf(grant), visible: { project: grant.project, environment: grant.environment } }
}

/** Known before the request is read. */
export function assertVerb({ grant, verbs }: Access, { verb, within }: AccessRule): void {
  if (within === 'server' && grant.project !== null) {
    throw new ShiplockError('FORBIDDEN', `this token counts for project ${grant.project} only; this concerns the whole server`, {
      hint: 'Ask whoever runs the server.',
    })
  }
  if (verbs.has(verb)) return
  const roles = ROLES.filter((role) => ROLE_VERBS[role].includes(verb))
  throw new ShiplockError('FORBIDDEN', `this token may not \`${verb}\`; it may: ${[...verbs].join(', ') || 'nothing'}`, {
    hint:
      roles.length === 0
        ? 'Only an owner of the whole server may; ask whoever runs it.'
        : `Ask an owner of the project for a token of role ${listOf(roles)}.`,
    details: { verb, roles },
  })
}
const listOf = (roles: readonly Role[]) => roles.join(' or ')

interface Parsed {
  readonly params: unknown
  readonly query: unknown
  readonly body: unknown
}
type Names = Readonly<Record<string, unknown>>

/**
 * Finds out what a request concerns, and refuses it before a handler has looked at anything. What a token can't see is answered for as
 * what does not exist, without asking the database whether it does (I10).
 */
export async function authorize(
  db: Queryable,
  access: Access,
  { within }: AccessRule,
  request: Parsed,
  defaults: { readonly project: string; readonly environment: string },
): Promise<{ readonly concern: Concern; readonly query: unknown }> {
  const { query } = request
  if (within === 'server') return { concern: { project: null, environment: null }, query }
  if (within === 'visible') return { concern: access.visible, query: narrow(query as Names, access.visible) }
  const concern = isRow(within)
    ? await rowConcern(db, access, within, (request.params as { id: string }).id)
    : await namedConcern(
        db,
        access,
        within,
        { ...(query as Names), ...(request.body as Names | undefined), ...(request.params as Names) },
        defaults,
      )
  return { concern, query }
}

type Named = 'project' | 'project-shared' | 'environment' | 'scope'
const NAMED: readonly Within[] = ['project', 'project-shared', 'environment', 'scope'] satisfies Named[]
const isRow = (within: Exclude<Within, 'server' | 'visible'>): within is Exclude<typeof within, Named> => !NAMED.includes(within)

/** A list of what the token sees: its own names are put in place of those left out. */
function narrow(query: Names, visible: Concern): Names {
  const narrowed: Record<string, unknown> = { ...query }
  for (const kind of ['project', 'environment'] as const) {
    const own = visible[kind]
    if (own === null) continue
    if (query[kind] !== undefined && query[kind] !== own) throw notThere(kind, String(query[kind]))
    narrowed[kind] = own
  }
  return narrowed
}

async function rowConcern(
  db: Queryable,
  { grant }: Access,
  row: Exclude<Within, Named | 'server' | 'visible'>,
  id: string,
): Promise<Concern> {
  const found = await findRowScope(db, row, id)
  const isSeen = found !== null && (grant.project === null || grant.project === found.project)
  if (!isSeen) throw notThere(row, id)
  if (grant.environment === null || grant.environment === found.environment) return found
  if (found.environment === null) throw wholeProject(grant)
  throw notThere(row, id)
}

async function namedConcern(
  db: Queryable,
  { grant, verbs }: Access,
  within: Named,
  names: Names,
  defaults: { readonly project: string; readonly environment: string },
): Promise<Concern> {
  const project = textOf(names.project) ?? grant.project ?? defaults.project
  const named = textOf(names.environment)
  const environment = within === 'environment' ? (named ?? grant.environment ?? defaults.environment) : within === 'scope' ? named : null
  if (grant.project === null) {
    // Naming a new project makes it; that is for those who may make one.
    if (!verbs.has('administer') && (await findProjectId(db, project)) === null) throw notThere('project', project)
    return { project, environment }
  }
  if (project !== grant.project) throw notThere('project', project)
  if (grant.environment === null || within === 'project-shared') return { project, environment }
  if (environment === null) throw wholeProject(grant)
  if (environment !== grant.environment) throw notThere('environment', environment)
  return { project, environment }
}

const textOf = (value: unknown) => (typeof value === 'string' ? value : null)

function notThere(kind: string, name: string): ShiplockError {
  return new ShiplockError('NOT_FOUND', `no ${kind} ${name}`)
}

function wholeProject({ project, environment }: Grant): ShiplockError {
  return new ShiplockError('FORBIDDEN', `this token counts for ${environment} of ${project} only; this concerns the whole project`, {
    hint: `Name the environment (-e ${environment}), or ask an owner of the project.`,
  })
}
