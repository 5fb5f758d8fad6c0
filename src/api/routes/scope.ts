import { ShiplockError } from '../../core/errors.ts'
import type { Queryable } from '../../store/database.ts'
import { findServiceEnvironment, type ServiceEnvironment } from '../../store/sql/catalog.ts'
import type { ApiDependencies } from '../dependencies.ts'

export interface NamedScope {
  readonly project?: string | undefined
  readonly environment?: string | undefined
  readonly service: string
}

export interface ServiceNames {
  readonly project: string
  readonly environment: string
  readonly service: string
}

/** What is not named is the server's default. */
export function namesOf(scope: NamedScope, { defaults }: ApiDependencies): ServiceNames {
  return { project: scope.project ?? defaults.project, environment: scope.environment ?? defaults.environment, service: scope.service }
}

export async function requireService(db: Queryable, scope: NamedScope, dependencies: ApiDependencies): Promise<ServiceEnvironment> {
  const names = namesOf(scope, dependencies)
  const found = await findServiceEnvironment(db, names)
  if (found === null) {
    throw new ShiplockError('NOT_FOUND', `no service ${names.service} in ${names.environment} of project ${names.project}`, {
      details: { ...names },
    })
  }
  return found
}
