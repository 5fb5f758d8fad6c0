import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../core/errors.ts'
import { PUBLISHED_HOST_KEYS, parseHostKeyLine, splitHost } from '../core/known-hosts.ts'
import { type GitAddress, hostOf } from './git-address.ts'
import type { SourceCredentials } from './source.ts'

/** What one git needs to open a repository. Nothing of it stands in an argument or an address (I8). */
export interface PreparedCredentials {
  /** Added to the environment of git. */
  readonly env: Readonly<Record<string, string>>
  /** What is used, for the log; null = nothing. */
  readonly about: string | null
  /** Must never be shown. */
  readonly secrets: readonly string[]
}

const NOTHING: PreparedCredentials = { env: {}, about: null, secrets: [] }

export interface CredentialsRequest {
  readonly address: GitAddress
  readonly credentials: SourceCredentials | undefined
  /** Where the connection goes; null = nobody looked. */
  readonly addresses: readonly string[] | null
  /** For files that only git's user may read. */
  readonly directory: string
  /** The same as git sees it. */
  readonly directoryInside: string
}

/** Picks what fits the address: the deploy key for ssh, the token of exactly that host for https. Throws SOURCE_REFUSED. */
export async function prepareCredentials(request: CredentialsRequest): Promise<PreparedCredentials> {
  const { address, credentials } = request
  if (address.protocol === 'ssh') return prepareKey(request)
  const host = hostOf(address)
  const token = address.protocol === 'https' ? credentials?.tokens.find((one) => one.host === host) : undefined
  return token === undefined ? NOTHING : prepareToken(token)
}

/** The environment is for git's own user's eyes; git sends the header to addresses that begin like this one and to no other. */
function prepareToken({ host, username, token }: SourceCredentials['tokens'][number]): PreparedCredentials {
  const basic = Buffer.from(`${username}:${token}`).toString('base64')
  return {
    env: {
      GIT_CONFIG_COUNT: '1',
      GIT_CONFIG_KEY_0: `http.https://${host}/.extraHeader`,
      GIT_CONFIG_VALUE_0: `Authorization: Basic ${basic}`,
    },
    about: `with the token for ${host}`,
    secrets: [token],
  }
}

/** ssh reads its key from a file only. A whole configuration of our own: nothing of the host's, and no word of it on a command line. */
async function prepareKey({
  address,
  credentials,
  addresses,
  directory,
  directoryInside,
}: CredentialsRequest): Promise<PreparedCredentials> {
  const key = credentials?.deployKey
  if (key == null) {
    throw new ShiplockError('SOURCE_REFUSED', 'the address is one of ssh, and this service has no deploy key', {
      hint: '`shiplock deploy-key create -s SERVICE` draws one: add it to the repository at its host. Or use an https address.',
    })
  }
  const pinned = key.hostKeys.flatMap((line) => parseHostKeyLine(line)?.line ?? [])
  const lines = [...pinned, ...PUBLISHED_HOST_KEYS.map(({ line }) => line)]
  const write = (name: string, text: string) => writeFile(join(directory, name), text, { mode: 0o600, flag: 'wx' })
  await write('key', key.privateKey)
  await write('known_hosts', `${lines.join('\n')}\n`)
  await write('ssh-config', sshConfig(address, addresses, directoryInside))
  const config = join(directoryInside, 'ssh-config')
  return {
    // git hands this line to a shell; the path is our own, and quoted.
    env: { GIT_SSH_COMMAND: `ssh -F '${config.replaceAll("'", "'\\''")}'`, GIT_SSH_VARIANT: 'ssh' },
    about: `with the deploy key ${key.fingerprint}`,
    secrets: [key.privateKey],
  }
}

function sshConfig(address: GitAddress, addresses: readonly string[] | null, inside: string): string {
  const settings = {
    // The address that was looked up and found callable; its key is known by the name.
    ...(addresses?.[0] === undefined ? {} : { HostName: addresses[0], HostKeyAlias: hostKeyName(address) }),
    CanonicalizeHostname: 'no',
    BatchMode: 'yes',
    IdentityFile: quoted(join(inside, 'key')),
    IdentitiesOnly: 'yes',
    IdentityAgent: 'none',
    PreferredAuthentications: 'publickey',
    StrictHostKeyChecking: 'yes',
    UserKnownHostsFile: quoted(join(inside, 'known_hosts')),
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

/** How known_hosts writes the host: an alias is looked up as it stands. */
function hostKeyName(address: GitAddress): string {
  const { name, port } = splitHost(hostOf(address) ?? '')
  return port === null ? name : `[${name}]:${port}`
}

/** ssh expands `%` in paths. */
function quoted(path: string): string {
  return `"${path.replaceAll('%', '%%')}"`
}
