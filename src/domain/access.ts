/** What may be done, from harmless to far-reaching. Every route of the API needs one of these. */
export const VERBS = ['read', 'deploy', 'operate', 'configure', 'secrets', 'manage', 'administer'] as const
export type Verb = (typeof VERBS)[number]

/** What each verb allows; docs/access.md is printed from this table. */
export const VERB_MEANINGS: Readonly<Record<Verb, string>> = {
  read: 'see services, deployments, logs, events, releases, names of variables',
  deploy: 'upload and deploy, download what was built',
  operate: 'scale, cancel, roll back, pin releases, clear caches, lift holds, approve and remove previews',
  configure: 'create environments, change their branch',
  secrets: 'set and remove variables and secrets',
  manage: 'members, tokens, webhooks, freezes, notifications, deploy keys, the audit log; remove services and environments',
  administer: 'create and delete projects, change their limits, everything that concerns the whole server',
}

export const ROLES = ['viewer', 'developer', 'owner'] as const
export type Role = (typeof ROLES)[number]

const DEVELOPER: readonly Verb[] = ['read', 'deploy', 'operate', 'configure', 'secrets']
export const ROLE_VERBS: Readonly<Record<Role, readonly Verb[]>> = {
  viewer: ['read'],
  developer: DEVELOPER,
  owner: [...DEVELOPER, 'manage'],
}

/** What a token stands for. */
export interface Grant {
  readonly role: Role
  /** Of the role's verbs only these; null = all of them. */
  readonly verbs: readonly Verb[] | null
  /** The only project it counts for; null = the whole server. */
  readonly project: string | null
  /** The only environment of that project; null = all. */
  readonly environment: string | null
  /** ISO 8601; null = it does not end by itself. */
  readonly expiresAt: string | null
}

/** An owner of the whole server may also administer it; nobody else may. */
export function verbsOf({ role, verbs, project }: Pick<Grant, 'role' | 'verbs' | 'project'>): ReadonlySet<Verb> {
  const all: readonly Verb[] = role === 'owner' && project === null ? VERBS : ROLE_VERBS[role]
  return new Set(verbs === null ? all : all.filter((verb) => verbs.includes(verb)))
}

/** Rows that a path of the API names by their id. `store/sql/row-scope.ts` says to which project each belongs. */
export type ScopedRow = 'deployment' | 'token' | 'webhook' | 'notificationTarget'

/** What a request concerns. Null = nothing in particular, or all of it. */
export interface Concern {
  readonly project: string | null
  readonly environment: string | null
}

/** What `wanted` may beyond `holder`, as the end of a sentence; null = nothing. Nobody can give away more than what he has. */
export function excessOf(holder: Grant, wanted: Grant): string | null {
  if (holder.project !== null && wanted.project !== holder.project) return `counts for more than project ${holder.project}`
  if (holder.environment !== null && wanted.environment !== holder.environment) return `counts for more than ${holder.environment}`
  const own = verbsOf(holder)
  const more = [...verbsOf(wanted)].filter((verb) => !own.has(verb))
  if (more.length > 0) return `may ${more.join(', ')}`
  const isLonger = holder.expiresAt !== null && (wanted.expiresAt === null || Date.parse(wanted.expiresAt) > Date.parse(holder.expiresAt))
  return isLonger ? `is valid beyond ${holder.expiresAt}` : null
}
