import type { CreatedToken, Token } from '../../contract/access.ts'
import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { randomId } from '../../core/random-id.ts'
import { excessOf, type Grant, verbsOf } from '../../domain/access.ts'
import type { Queryable } from '../../store/database.ts'
import { countTokens, getToken, insertToken, listTokens, type NewToken, revokeToken, type TokenRecord } from '../../store/sql/tokens.ts'
import { drawToken, hashToken } from '../admin-token.ts'
import { assertVerb } from '../authorize.ts'
import type { Handlers, RouteContext } from '../route-context.ts'
import { decodeCursor, pageOf } from './cursor.ts'
import { requireMember } from './members.ts'
import { requireEnvironment, requireProjectId } from './projects.ts'

export const tokenHandlers: Handlers<'getOwnToken' | 'listTokens' | 'createToken' | 'createServerToken' | 'revokeToken'> = {
  getOwnToken: async (_request, { dependencies, actor }) => viewToken(await requireToken(dependencies.database, actor.tokenId)),

  listTokens: async ({ query }, { dependencies }) => {
    const { project = null, environment = null } = query
    const filter = { project, environment, before: decodeCursor(query.cursor), limit: query.limit + 1 }
    return pageOf(await listTokens(dependencies.database, filter), query.limit, viewToken, (row) => row.id)
  },

  createToken: ({ body }, context) =>
    createOnce(context, async (tx) => {
      const project = body.project ?? context.dependencies.defaults.project
      if (body.member !== undefined && body.role !== undefined) {
        throw new ShiplockError('INPUT_INVALID', "body.role: a member's token has the member's role", {
          hint: 'Leave out one of the two; verbs can narrow it.',
        })
      }
      const member = body.member === undefined ? null : await requireMember(tx, project, body.member)
      const environment = body.environment === undefined ? null : await requireEnvironment(tx, project, body.environment)
      return {
        name: body.name,
        role: member?.role ?? body.role ?? 'viewer',
        verbs: body.verbs,
        expiresInSeconds: body.expiresInSeconds,
        projectId: await requireProjectId(tx, project),
        environmentId: environment?.id ?? null,
        memberId: member?.id ?? null,
      }
    }),

  createServerToken: ({ body }, context) =>
    createOnce(context, async () => ({ ...body, projectId: null, environmentId: null, memberId: null })),

  revokeToken: ({ params }, { access, once }) =>
    once(async (tx) => {
      const token = await requireToken(tx, params.id)
      // A token of the whole server may be the administrator's own.
      if (token.project === null) assertVerb(access, { verb: 'administer', within: 'server' })
      await revokeToken(tx, params.id)
      return viewToken(await requireToken(tx, params.id))
    }),
}

type Wanted = Omit<NewToken, 'id' | 'hash' | 'createdBy'>

/** The token stands in the answer, and nowhere else: what is kept for a repeated request is without it (I8). */
function createOnce({ once, tell, actor, access }: RouteContext, want: (tx: Queryable) => Promise<Wanted>): Promise<CreatedToken> {
  const secret = drawToken()
  return once<CreatedToken>(
    async (tx) => {
      const wanted = await want(tx)
      const id = randomId<string>('tok')
      await insertToken(tx, { ...wanted, id, hash: hashToken(secret), createdBy: actor.name })
      if ((await countTokens(tx, wanted.projectId)) > LIMITS.tokensPerProject) {
        throw new ShiplockError('CONFLICT', `there are ${LIMITS.tokensPerProject} tokens already`, {
          hint: 'Revoke those that nobody uses.',
        })
      }
      const made = await requireToken(tx, id)
      // Compared as it was written, so that the end is on the database's clock; refused, it is rolled back.
      assertNoMore(access.grant, made)
      tell({ name: made.name, environment: made.environment }, { target: id })
      return { ...viewToken(made), token: secret }
    },
    (answer) => ({ ...answer, token: null }),
  )
}

function assertNoMore(holder: Grant, wanted: TokenRecord): void {
  if (verbsOf(wanted).size === 0) {
    throw new ShiplockError('INPUT_INVALID', `body.verbs: role ${wanted.role} has none of them`, {
      hint: 'docs/access.md shows the verbs of each role.',
    })
  }
  const excess = excessOf(holder, wanted)
  if (excess === null) return
  throw new ShiplockError('FORBIDDEN', `the token that is asked for ${excess}; the one that asks does not`, {
    hint: 'Ask for less: another role, fewer verbs, an environment, an earlier end.',
  })
}

async function requireToken(db: Queryable, id: string): Promise<TokenRecord> {
  const found = await getToken(db, id)
  if (found === null) throw new ShiplockError('NOT_FOUND', `no token ${id}`)
  return found
}

function viewToken(record: TokenRecord): Token {
  const { isExpired: _, ...token } = record
  return { ...token, verbs: [...verbsOf(record)] }
}
