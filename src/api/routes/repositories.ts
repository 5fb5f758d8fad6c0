import type { DeployKey, GitToken } from '../../contract/secret.ts'
import { ShiplockError } from '../../core/errors.ts'
import { PUBLISHED_HOST_KEYS, parseHostKeyLine } from '../../core/known-hosts.ts'
import { createSshKey } from '../../core/ssh-key.ts'
import type { Source } from '../../domain/deployment.ts'
import { tokenUsername } from '../../domain/git-host.ts'
import type { Queryable } from '../../store/database.ts'
import { ensureProject, ensureScope } from '../../store/sql/catalog.ts'
import {
  type DeployKeyRecord,
  deleteDeployKey,
  deleteGitToken,
  findDeployKey,
  type GitTokenRecord,
  listGitTokens,
  saveDeployKey,
  saveGitToken,
  savePinnedHosts,
} from '../../store/sql/git-access.ts'
import type { ApiDependencies } from '../dependencies.ts'
import type { Handlers } from '../route-context.ts'

type Names = { readonly project: string; readonly service: string }

/** What opens private repositories. Private keys and tokens go in, and never come out (I8). */
export const repositoryHandlers: Handlers<
  | 'getDeployKey'
  | 'createDeployKey'
  | 'removeDeployKey'
  | 'pinHostKeys'
  | 'seeHostKeys'
  | 'listGitTokens'
  | 'setGitToken'
  | 'removeGitToken'
> = {
  getDeployKey: ({ params, query }, { dependencies }) =>
    requireDeployKey(dependencies.database, namesOf(params, query, dependencies), dependencies),

  createDeployKey: ({ params, query }, { dependencies, once }) => {
    const names = namesOf(params, query, dependencies)
    return once(async (tx) => {
      const ids = await ensureScope(tx, { ...names, environment: null })
      if ((await findDeployKey(tx, names)) !== null && !query.replace) {
        throw new ShiplockError('CONFLICT', `${names.service} has a deploy key already`, {
          hint: '`shiplock deploy-key show` prints it; `shiplock deploy-key create --replace` draws another, which the git host must be told.',
        })
      }
      const { privateKey, ...key } = createSshKey(`shiplock-${names.project}-${names.service}`)
      if (ids.serviceId === null) throw new Error('a service was not made')
      await saveDeployKey(
        tx,
        { projectId: ids.projectId, serviceId: ids.serviceId },
        { ...key, sealedPrivateKey: dependencies.secrets.seal(privateKey) },
      )
      return requireDeployKey(tx, names, dependencies)
    })
  },

  removeDeployKey: ({ params, query }, { dependencies, once }) =>
    once(async (tx) => {
      await deleteDeployKey(tx, namesOf(params, query, dependencies))
      return null
    }),

  pinHostKeys: ({ params, query, body }, { dependencies, once }) => {
    const names = namesOf(params, query, dependencies)
    const lines = body.lines.map((given, index) => {
      const parsed = parseHostKeyLine(given)
      if (parsed === null) throw new ShiplockError('INPUT_INVALID', `body.lines.${index}: is not \`host type key\` of one plain host`)
      return parsed.line
    })
    return once(async (tx) => {
      if (!(await savePinnedHosts(tx, names, [...new Set(lines)].join('\n')))) throw noDeployKey(names)
      return requireDeployKey(tx, names, dependencies)
    })
  },

  seeHostKeys: async ({ params, query }, { dependencies, signal }) => {
    const names = namesOf(params, query, dependencies)
    const key = await findDeployKey(dependencies.database, names)
    const host = query.host ?? (key === null ? null : hostOf(key, dependencies))
    if (host === null) {
      throw new ShiplockError('INPUT_INVALID', `${names.service} has no source at an ssh host yet, or at several: name the host`, {
        hint: '`shiplock deploy-key pin HOST -s SERVICE`',
      })
    }
    const lines = await dependencies.repositories.readHostKeys(host, signal)
    return { host, keys: lines.flatMap((line) => shown(line)) }
  },

  listGitTokens: async ({ query }, { dependencies }) => {
    const records = await listGitTokens(dependencies.database, query.project ?? dependencies.defaults.project)
    return { items: records.map((record) => tokenView(record, dependencies)), next: null }
  },

  setGitToken: ({ params, query, body }, { dependencies, once, actor, tell }) => {
    const project = query.project ?? dependencies.defaults.project
    const { host } = params
    tell({ host })
    const sealedToken = dependencies.secrets.seal(body.token)
    return once(async (tx) => {
      const projectId = await ensureProject(tx, project)
      await saveGitToken(tx, { projectId, host, username: body.username ?? tokenUsername(host), sealedToken, setBy: actor.name })
      const record = (await listGitTokens(tx, project)).find((one) => one.host === host)
      if (record === undefined) throw new Error('a git token was not written')
      return tokenView(record, dependencies)
    })
  },

  removeGitToken: ({ params, query }, { dependencies, once, tell }) => {
    tell({ host: params.host })
    return once(async (tx) => {
      await deleteGitToken(tx, query.project ?? dependencies.defaults.project, params.host)
      return null
    })
  },
}

function namesOf(
  params: { readonly service: string },
  query: { readonly project?: string | undefined },
  { defaults }: ApiDependencies,
): Names {
  return { project: query.project ?? defaults.project, service: params.service }
}

async function requireDeployKey(db: Queryable, names: Names, dependencies: ApiDependencies): Promise<DeployKey> {
  const found = await findDeployKey(db, names)
  if (found === null) throw noDeployKey(names)
  return keyView(found, dependencies)
}

function noDeployKey({ project, service }: Names): ShiplockError {
  return new ShiplockError('NOT_FOUND', `${service} of project ${project} has no deploy key`, {
    hint: `\`shiplock deploy-key create -s ${service}\` draws one.`,
  })
}

/** Everything about a deploy key but its private part (I8). */
function keyView(record: DeployKeyRecord, dependencies: ApiDependencies): DeployKey {
  const host = hostOf(record, dependencies)
  const published = PUBLISHED_HOST_KEYS.filter((key) => key.host === host).map(({ line }) => line)
  const { project, service, publicKey, fingerprint, createdAt } = record
  const hostKeys = [...record.knownHosts.split('\n'), ...published].flatMap((line) => shown(line))
  return { project, service, publicKey, fingerprint, createdAt, host, hostKeys }
}

/** What webhooks name, else what all environments agree on: none of them chooses which keys the others trust (I14). */
function hostOf({ repositories, sources }: DeployKeyRecord, dependencies: ApiDependencies): string | null {
  const only = (all: readonly Source[]) => {
    const [host, other] = new Set(all.flatMap((source) => dependencies.repositories.sshHostOf(source) ?? []))
    return other === undefined ? (host ?? null) : null
  }
  return only(repositories) ?? only(sources)
}

function shown(text: string): DeployKey['hostKeys'] {
  const parsed = parseHostKeyLine(text)
  return parsed === null ? [] : [{ type: parsed.type, fingerprint: parsed.fingerprint, line: parsed.line }]
}

function tokenView({ sealedToken, ...record }: GitTokenRecord, { secrets }: ApiDependencies): GitToken {
  return { ...record, fingerprint: secrets.describe(sealedToken, `git token ${record.project}`)?.fingerprint ?? null }
}
