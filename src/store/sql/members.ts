import { randomId } from '../../core/random-id.ts'
import type { Role } from '../../domain/access.ts'
import type { Queryable } from '../database.ts'

export interface MemberRecord {
  readonly id: string
  readonly project: string
  readonly name: string
  readonly role: Role
  /** Of its tokens those that are valid. */
  readonly tokens: number
  readonly createdAt: string
}

const SELECT = `select m.id, p.name as project, m.name, m.role, m.created_at as "createdAt",
    (select count(*) from tokens t where t.member_id = m.id and t.revoked_at is null and (t.expires_at is null or t.expires_at > now())) as tokens
  from members m join projects p on p.id = m.project_id`

export async function listMembers(db: Queryable, project: string): Promise<MemberRecord[]> {
  return db.query<MemberRecord>(`${SELECT} where p.name = $1 order by m.name`, [project])
}

export async function findMember(db: Queryable, project: string, name: string): Promise<MemberRecord | null> {
  const [row] = await db.query<MemberRecord>(`${SELECT} where p.name = $1 and m.name = $2`, [project, name])
  return row ?? null
}

/** False when the project has one of that name. */
export async function insertMember(tx: Queryable, projectId: string, name: string, role: Role): Promise<boolean> {
  const rows = await tx.query(
    'insert into members (id, project_id, name, role) values ($1, $2, $3, $4) on conflict (project_id, name) do nothing returning id',
    [randomId('mem'), projectId, name, role],
  )
  return rows.length > 0
}

export async function setMemberRole(tx: Queryable, id: string, role: Role): Promise<void> {
  await tx.query('update members set role = $2 where id = $1', [id, role])
}

/** Its tokens go with it. */
export async function deleteMember(tx: Queryable, id: string): Promise<void> {
  await tx.query('delete from members where id = $1', [id])
}
