import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type ClientSettings, clientSettings, type Environment, loadSettings } from '../config/settings.ts'
import { DATA_FILES } from '../contract/data-files.ts'
import { ShiplockError } from '../core/errors.ts'
import { Client } from './client.ts'

/** Where the server is, and whether it may be started from here. */
export interface Connection {
  readonly url: string
  /** It belongs to the data directory of this machine. */
  readonly isLocal: boolean
  readonly dataDirectory: string
  readonly client: Client
}

/** SHIPLOCK_URL and SHIPLOCK_TOKEN, or what the server of the data directory left there for its own user. */
export async function connect(env: Environment): Promise<Connection> {
  const settings = clientSettings(env)
  const url = settings.url ?? (await localUrl(settings, env))
  const token = settings.token ?? (await localToken(settings))
  return { url, isLocal: settings.url === null, dataDirectory: settings.dataDirectory, client: new Client(url, token) }
}

async function localUrl({ dataDirectory }: ClientSettings, env: Environment): Promise<string> {
  const announced = (await readFile(join(dataDirectory, DATA_FILES.apiUrl), 'utf8').catch(() => '')).trim()
  if (/^http:\/\/[\w.:[\]-]+$/.test(announced)) return announced
  const { host, port } = loadSettings(env, { file: null }).apiListen
  return `http://${host.includes(':') ? `[${host}]` : host}:${port}`
}

async function localToken({ dataDirectory }: ClientSettings): Promise<string | null> {
  const path = join(dataDirectory, DATA_FILES.adminToken)
  try {
    return (await readFile(path, 'utf8')).trim() || null
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'EACCES') {
      throw new ShiplockError('UNAUTHORIZED', `${path} belongs to another user`, {
        hint: 'Set SHIPLOCK_TOKEN, or run the command as the user of the server.',
      })
    }
    return null
  }
}
