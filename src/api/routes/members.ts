import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { excessOf, type Role } from '../../domain/access.ts'
import type { Queryable } from '../../store/database.ts'
import { deleteMember, findMember, insertMember, listMembers, type MemberRecord, setMemberRole } from '../../store/sql/members.ts'
import type { Access } from '../authorize.ts'
import type { Handlers } from '../route-context.ts'
import { requireProjectId } from './projects.ts'

export const memberHandlers: Handlers<'listMembers' | 'addMember' | 'changeMember' | 'removeMember'> = {
  listMembers: async ({ query }, { dependencies }) => {
    return { items: await listMembers(dependencies.database, query.project ?? dependencies.defaults.project), next: null }
  },

  addMember: ({ body }, { dependencies, access, once, tell }) =>
    once(async (tx) => {
      const project = body.project ?? dependencies.defaults.project
      assertMayGive(access, project, body.role)
      const projectId = await requireProjectId(tx, project)
      if (!(await insertMember(tx, projectId, body.name, body.role))) {
        throw new ShiplockError('CONFLICT', `project ${project} has a member ${body.name} already`)
      }
      if ((await listMembers(tx, project)).length > LIMITS.membersPerProject) {
        throw new ShiplockError('CONFLICT', `project ${project} has ${LIMITS.membersPerProject} members already`)
      }
      tell({}, { target: body.name })
      return requireMember(tx, project, body.name)
    }),

  changeMember: ({ params, query, body }, { dependencies, access, once, tell }) =>
    once(async (tx) => {
      const project = query.project ?? dependencies.defaults.project
      assertMayGive(access, project, body.role)
      const member = await requireMember(tx, project, params.member)
      await setMemberRole(tx, member.id, body.role)
      tell({ was: member.role }, { target: member.name })
      return requireMember(tx, project, params.member)
    }),

  removeMember: ({ params, query }, { dependencies, once, tell }) =>
    once(async (tx) => {
      const member = await requireMember(tx, query.project ?? dependencies.defaults.project, params.member)
      await deleteMember(tx, member.id)
      tell({ role: member.role, tokens: member.tokens }, { target: member.name })
      return null
    }),
}

/** A role is worth as much as a token of it: nobody gives away more than what he has. */
function assertMayGive({ grant }: Access, project: string, role: Role): void {
  const excess = excessOf({ ...grant, expiresAt: null }, { role, verbs: null, project, environment: null, expiresAt: null })
  if (excess !== null) throw new ShiplockError('FORBIDDEN', `a member of role ${role} ${excess}; this token does not`)
}

export async function requireMember(db: Queryable, project: string, name: string): Promise<MemberRecord> {
  const found = await findMember(db, project, name)
  if (found === null) throw new ShiplockError('NOT_FOUND', `no member ${name} in project ${project}`)
  return found
}
