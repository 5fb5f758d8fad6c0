import { randomBytes } from 'node:crypto'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PUBLISHED_HOST_KEYS, parseHostKeyLine } from '../core/known-hosts.ts'
import { removeTree } from '../core/remove-tree.ts'
import { type GitAddress, hostOf } from './git-address.ts'
import type { SourceCredentials } from './source.ts'

/** What one git needs to open a repository. Nothing of it stands in an argument or an address (I8). */
export interface PreparedCredentials {
  /** Added to the environment of git. */
  readonly env: Readonly<Record<string, string>>
  /** What is used, for the log; null = nothing. */
  readonly about: string | null
  /** Nothing stays on disk. */
  remove(): Promise<void>
}

const NOTHING: PreparedCredentials = { env: {}, about: null, remove: async () => {} }

/** Below the state directory: one directory per use, which only its owner may enter. */
function credentialsDirectory(stateDirectory: string): string {
  return join(stateDirectory, 'credentials')
}

/** What a server that was killed left behind. Before the first fetch. */
export async function sweepCredentials(stateDirectory: string): Promise<void> {
  await removeTree(credentialsDirectory(stateDirectory))
}

/** Picks what fits the address: the deploy key for ssh, the token of exactly that host for https. */
export async function prepareCredentials(
  address: GitAddress,
  credentials: SourceCredentials | undefined,
  stateDirectory: string,
): Promise<PreparedCredentials> {
  const host = hostOf(address)
  if (address.protocol === 'ssh' && credentials?.deployKey != null) return prepareKey(credentials.deployKey, stateDirectory)
  const token = address.protocol === 'https' ? credentials?.tokens.find((one) => one.host === host) : undefined
  return token === undefined ? NOTHING : prepareToken(token)
}

/** The environment is for our own user's eyes; git sends the header to addresses that begin like this one and to no other. */
function prepareToken({ host, username, token }: SourceCredentials['tokens'][number]): PreparedCredentials {
  const basic = Buffer.from(`${username}:${token}`).toString('base64')
  return {
    env: {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: `http.https://${host}/.extraHeader`,
      GIT_CONFIG_VALUE_0: `Authorization: Basic ${basic}`,
    },
    about: `with the token for ${host}`,
    remove: async () => {},
  }
}

/** ssh reads its key from a file only. A whole configuration of our own: nothing of the host's, and no word of it on a command line. */
async function prepareKey(key: NonNullable<SourceCredentials['deployKey']>, stateDirectory: string): Promise<PreparedCredentials> {
  const directory = join(credentialsDirectory(stateDirectory), randomBytes(12).toString('hex'))
  const remove = () => removeTree(directory)
  await mkdir(directory, { recursive: true, mode: 0o700 })
  try {
    const [identity, knownHosts, config] = ['key', 'known_hosts', 'config'].map((name) => join(directory, name)) as [string, string, string]
    const pinned = key.hostKeys.flatMap((line) => parseHostKeyLine(line)?.line ?? [])
    const lines = [...pinned, ...PUBLISHED_HOST_KEYS.map(({ line }) => line)]
    await writeFile(identity, key.privateKey, { mode: 0o600, flag: 'wx' })
    await writeFile(knownHosts, `${lines.join('\n')}\n`, { mode: 0o600, flag: 'wx' })
    await writeFile(config, sshConfig(identity, knownHosts), { mode: 0o600, flag: 'wx' })
    return {
      // git hands this line to a shell; the path is our own, and quoted.
      env: { GIT_SSH_COMMAND: `ssh -F '${config.replaceAll("'", "'\\''")}'`, GIT_SSH_VARIANT: 'ssh' },
      about: `with the deploy key ${key.fingerprint}`,
      remove,
    }
  } catch (error) {
    await remove()
    throw error
  }
}

function sshConfig(identity: string, knownHosts: string): string {
  const settings = {
    BatchMode: 'yes',
    IdentityFile: quoted(identity),
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    PreferredAuthentications: 'publickey',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: quoted(knownHosts),
    GlobalKnownHostsFile: '/dev/null',
    UpdateHostKeys: 'no',
    CheckHostIP: 'no',
    ConnectTimeout: '20',
    ServerAliveInterval: '15',
    ServerAliveCountMax: '4',
    ForwardAgent: 'no',
    ClearAllForwardings: 'yes',
    PermitLocalCommand: 'no',
    ControlMaster: 'no',
    LogLevel: 'ERROR',
  }
  return Object.entries(settings)
    .map(([name, value]) => `${name} ${value}\n`)
    .join('')
}

/** ssh expands `%` in paths. */
function quoted(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`
}
