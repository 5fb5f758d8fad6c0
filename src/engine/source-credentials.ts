import type { Deployment } from '../domain/deployment.ts'
import type { SourceCredentials } from '../sources/source.ts'
import type { Queryable } from '../store/database.ts'
import { findDeployKeyOf, listGitTokensOf } from '../store/sql/git-access.ts'
import type { EngineDependencies } from './dependencies.ts'

/** With what a service's source may be fetched. Secrets: opened for one fetch, handed to the fetcher, kept nowhere. */
export async function sourceCredentials(
  { sealer }: Pick<EngineDependencies, 'sealer'>,
  db: Queryable,
  scope: Pick<Deployment, 'projectId' | 'serviceId'>,
): Promise<SourceCredentials> {
  const [key, tokens] = [await findDeployKeyOf(db, scope.serviceId), await listGitTokensOf(db, scope.projectId)]
  return {
    deployKey:
      key === null
        ? null
        : {
            privateKey: sealer.open(key.sealedPrivateKey),
            fingerprint: key.fingerprint,
            hostKeys: key.knownHosts.split('\n').filter((line) => line !== ''),
          },
    tokens: tokens.map(({ host, username, sealedToken }) => ({ host, username, token: sealer.open(sealedToken) })),
  }
}

/** Those of them that must never be shown. */
export function credentialValues({ deployKey, tokens }: SourceCredentials): string[] {
  return [...(deployKey === null ? [] : [deployKey.privateKey]), ...tokens.map(({ token }) => token)]
}
