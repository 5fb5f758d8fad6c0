import { z } from 'zod'
import { ROLES, VERBS } from '../domain/access.ts'
import { gitRefProblem } from '../domain/git-ref-name.ts'
import { id, name, text, timestamp } from './primitives.ts'
import { Removing } from './service.ts'

/** Of members and tokens: people, machines, addresses. */
export const holderName = z
  .string()
  .max(60)
  .regex(/^[A-Za-z0-9](?:[A-Za-z0-9._@+-]*[A-Za-z0-9])?$/, 'is not a name: letters, digits and inner . _ @ + -, at most 60')
  .meta({ description: 'Letters, digits and inner . _ @ + -, at most 60.' })
export const role = z.enum(ROLES).meta({ id: 'Role' })
const verbs = z.array(z.enum(VERBS)).min(1).max(VERBS.length)
const branch = text(200).superRefine((name, context) => {
  const problem = gitRefProblem(name, 200)
  if (problem !== null) context.addIssue({ code: 'custom', message: `must be a branch name: it ${problem}` })
})

const atMost = (max: number) => z.number().int().min(0).max(max).optional()
export const ProjectLimits = z
  .strictObject({
    retention: atMost(1000).meta({ description: 'Releases kept beside the live one.' }),
    services: atMost(10_000),
    environments: atMost(10_000),
    concurrentBuilds: z.number().int().min(1).max(100).optional().meta({ description: 'Deployments in progress at once.' }),
    previews: atMost(10_000),
  })
  .meta({ id: 'ProjectLimits', description: "A missing key = the server's own limit." })
export type ProjectLimits = z.infer<typeof ProjectLimits>

export const Project = z
  .strictObject({
    id,
    name: z.string(),
    limits: ProjectLimits,
    services: z.number().int(),
    environments: z.number().int(),
    createdAt: timestamp,
  })
  .meta({ id: 'Project' })
export type Project = z.infer<typeof Project>

export const CreateProject = z.strictObject({ name, limits: ProjectLimits.default({}) }).meta({ id: 'CreateProject' })

export const Environment = z
  .strictObject({
    id,
    project: z.string(),
    name: z.string(),
    branch: z.string().nullable().meta({ description: 'Pushes to it deploy here; null = as the configuration of the service says.' }),
    services: z.number().int(),
    preview: z.boolean().meta({ description: 'It follows a pull request.' }),
    removing: Removing.nullable(),
    createdAt: timestamp,
  })
  .meta({ id: 'Environment' })
export type Environment = z.infer<typeof Environment>

export const CreateEnvironment = z
  .strictObject({ project: name.optional(), name, branch: branch.nullable().default(null) })
  .meta({ id: 'CreateEnvironment' })
export const ChangeEnvironment = z.strictObject({ branch: branch.nullable() }).meta({ id: 'ChangeEnvironment' })

export const Member = z
  .strictObject({ id, project: z.string(), name: z.string(), role, tokens: z.number().int(), createdAt: timestamp })
  .meta({ id: 'Member' })
export type Member = z.infer<typeof Member>

export const AddMember = z.strictObject({ project: name.optional(), name: holderName, role }).meta({ id: 'AddMember' })
export const ChangeMember = z.strictObject({ role }).meta({ id: 'ChangeMember' })

export const Token = z
  .strictObject({
    id,
    name: z.string(),
    project: z.string().nullable().meta({ description: 'null = the whole server.' }),
    environment: z.string().nullable().meta({ description: 'null = all of the project.' }),
    member: z.string().nullable(),
    role,
    verbs: z.array(z.enum(VERBS)).meta({ description: 'What it may.' }),
    createdBy: z.string().nullable(),
    createdAt: timestamp,
    lastUsedAt: timestamp.nullable().meta({ description: 'To the minute.' }),
    expiresAt: timestamp.nullable(),
    revokedAt: timestamp.nullable(),
  })
  .meta({ id: 'Token', description: 'The token itself is shown once, when it is made.' })
export type Token = z.infer<typeof Token>

const EXPIRY_SECONDS_MAX = 10 * 366 * 86_400
const newToken = {
  name: holderName,
  verbs: verbs.nullable().default(null).meta({ description: "Of the role's verbs only these; null = all." }),
  expiresInSeconds: z.number().int().min(1).max(EXPIRY_SECONDS_MAX).nullable().default(null).meta({ description: 'null = never.' }),
}
export const CreateToken = z
  .strictObject({
    project: name.optional(),
    environment: name.optional().meta({ description: 'Left out = all of the project.' }),
    member: holderName.optional().meta({ description: "Whose it is: its role is the member's, also when that changes." }),
    role: role.optional().meta({ description: 'Without a member; viewer when left out.' }),
    ...newToken,
  })
  .meta({ id: 'CreateToken' })
export const CreateServerToken = z.strictObject({ role: role.default('owner'), ...newToken }).meta({ id: 'CreateServerToken' })

export const CreatedToken = z
  .strictObject({
    ...Token.shape,
    token: z.string().nullable().meta({ description: 'Shown this once; null when an Idempotency-Key repeats the answer.' }),
  })
  .meta({ id: 'CreatedToken' })
export type CreatedToken = z.infer<typeof CreatedToken>

export const AuditEntry = z
  .strictObject({
    position: z.number().int(),
    at: timestamp,
    actor: z.string(),
    tokenId: z.string().nullable(),
    address: z.string().nullable(),
    action: z.string().meta({ description: 'Kind and verb: token.create.' }),
    project: z.string().nullable(),
    environment: z.string().nullable(),
    target: z.string().nullable(),
    data: z.record(z.string(), z.unknown()).meta({ description: 'What was asked for, without secrets.' }),
  })
  .meta({ id: 'AuditEntry' })
export type AuditEntry = z.infer<typeof AuditEntry>
