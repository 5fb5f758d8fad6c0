import { readFile, stat } from 'node:fs/promises'
import { engineAuthHeader, parseRegistryAuths, type RegistryAuth } from '../container-engine/registry-auth.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'

export interface CredentialSource {
  /** null = none: the registry is asked as anybody. @throws PUBLISH_FAILED for a file that can't be used */
  find(host: string): Promise<RegistryAuth | null>
}

export interface CredentialSettings {
  readonly username: string | null
  readonly password: string | null
  /** A file as `docker login` writes it, readable by its owner only. */
  readonly file: string | null
  /** The host that user and password are for; the file may name many. */
  readonly host: string
}

/** User and password from the settings, for their one host; else what the file says, read at each use so that it may be changed at any time. */
export function createCredentialSource(settings: CredentialSettings): CredentialSource {
  const { username, password, file, host: own } = settings
  return {
    find: async (host) => {
      if (host === own && username !== null && password !== null) return { username, password }
      return file === null ? null : findInFile(file, host)
    },
  }
}

async function findInFile(path: string, host: string): Promise<RegistryAuth | null> {
  const text = await readPrivately(path)
  try {
    return parseRegistryAuths(text, path).get(host) ?? null
  } catch (error) {
    if (error instanceof ShiplockError) throw new ShiplockError('PUBLISH_FAILED', error.message, { hint: error.hint })
    throw error
  }
}

async function readPrivately(path: string): Promise<string> {
  const facts = await stat(path).catch(() => null)
  if (facts === null || !facts.isFile()) throw refused(path, 'is not there, or is not a file')
  if ((facts.mode & 0o077) !== 0) throw refused(path, 'may be read by others than its owner', `chmod 600 ${path}`)
  if (facts.size > LIMITS.configBytes) throw refused(path, `is larger than ${LIMITS.configBytes} bytes`)
  return readFile(path, 'utf8').catch(() => {
    throw refused(path, 'can not be read')
  })
}

function refused(path: string, what: string, hint = 'Write it as `docker login` does.'): ShiplockError {
  return new ShiplockError('PUBLISH_FAILED', `the registry's credentials file ${path} ${what}`, { hint })
}

/** What of them must never be seen. */
export function secretsOf(auth: RegistryAuth | null, host: string): readonly string[] {
  if (auth === null) return []
  return ['identityToken' in auth ? auth.identityToken : auth.password, engineAuthHeader(auth, host)]
}
