import { readFile, stat } from 'node:fs/promises'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { type ImageReference, REGISTRY_AUTH_VARIABLE } from '../domain/image-reference.ts'
import { parseRegistryAuths, type RegistryAuth, type RegistryAuths } from './registry-auth.ts'

/** Who a project is to the registries that its images come from. */
export interface ImageCredentials {
  /** For an image that a project named, to run or to build on; null = asked as anybody. */
  find(image: ImageReference, scope: CredentialScope): Promise<RegistryAuth | null>
}

export interface CredentialScope {
  readonly project: string
  readonly variables: Readonly<Record<string, string>>
}

export interface ImageCredentialOptions {
  /** Docker config JSON of this server, mode 0600: what every project may pull with. */
  readonly file: string | null
  /** Where this server publishes. Its credentials open every project's images, so a project gets them for its own only (I10). */
  readonly publish: { readonly host: string; readonly path: string; readonly auth: RegistryAuth | null } | null
}

const NONE: RegistryAuths = new Map()

/** A project's own credentials (`REGISTRY_AUTH`) win over the server's. */
export function createImageCredentials({ file, publish }: ImageCredentialOptions): ImageCredentials {
  const ownOf = (variables: Readonly<Record<string, string>>): RegistryAuths => {
    const text = Object.hasOwn(variables, REGISTRY_AUTH_VARIABLE) ? variables[REGISTRY_AUTH_VARIABLE] : undefined
    return text === undefined || text === '' ? NONE : parseRegistryAuths(text, `the variable ${REGISTRY_AUTH_VARIABLE}`)
  }
  return {
    find: async ({ host, path }, { project, variables }) => {
      const own = ownOf(variables).get(host)
      if (own !== undefined) return own
      const shared = file === null ? NONE : await readAuthFile(file)
      if (publish === null || host !== publish.host) return shared.get(host) ?? null
      const prefix = publish.path === '' ? `${project}/` : `${publish.path}/${project}/`
      return path.startsWith(prefix) ? (publish.auth ?? shared.get(host) ?? null) : null
    },
  }
}

async function readAuthFile(path: string): Promise<RegistryAuths> {
  const facts = await stat(path).catch(() => null)
  if (facts === null || !facts.isFile() || facts.size > LIMITS.configBytes || (facts.mode & 0o077) !== 0) {
    throw new ShiplockError('IMAGE_NOT_FOUND', `the registry credentials file ${path} is not there, too large, or readable by others`, {
      hint: `chmod 600 ${path}`,
    })
  }
  return parseRegistryAuths(await readFile(path, 'utf8'), path)
}
