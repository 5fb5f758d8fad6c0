import { execFileSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ForeignPrograms } from '../../src/core/foreign-programs.ts'
import { parseHostKeyLine } from '../../src/core/known-hosts.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { createSshKey } from '../../src/core/ssh-key.ts'
import { SYSTEM_PATH } from '../../src/sources/git.ts'
import { sweepGitRooms } from '../../src/sources/git-room.ts'
import { readHostKeys } from '../../src/sources/host-keys.ts'
import type { SourceCredentials } from '../../src/sources/source.ts'
import { GitRepo } from '../support/git-repo.ts'
import { gitServersMissing, HttpsGitServer, SshServer } from '../support/git-servers.ts'
import { anyHost, hostGitSource, hostPrograms } from '../support/git-source.ts'
import { memoryOf } from '../support/memory-directories.ts'

const missing = gitServersMissing()
const key = createSshKey('shiplock-test')
const TOKEN = 'glpat-Zq7xK2vWm9Tr4LsPdN8b'
const account = { username: 'oauth2', token: TOKEN }

const root = mkdtempSync(join(tmpdir(), 'shiplock-private-'))
const memory = await memoryOf(root)
/** Whatever it is: nothing of it may stay. */
const state = memory.path
const programs = await hostPrograms(root)
const reader = { programs, hosts: anyHost, searchPath: SYSTEM_PATH, memory }
let repo: GitRepo
let ssh: SshServer
let https: HttpsGitServer
let elsewhere: HttpsGitServer

beforeAll(async () => {
  if (missing !== null) return
  repo = new GitRepo(join(root, 'repos', 'app'))
  repo.commit('first', { 'a.txt': 'from a private repository', 'b.bin': 'x'.repeat(50_000) })
  ssh = await SshServer.start(join(root, 'sshd'), [key.publicKey])
  https = await HttpsGitServer.start(join(root, 'https'), join(root, 'repos'), account)
  elsewhere = await HttpsGitServer.start(join(root, 'elsewhere'), join(root, 'repos'), account)
})
afterAll(async () => {
  await ssh?.stop()
  await https?.stop()
  await elsewhere?.stop()
  await removeTree(root)
})
beforeEach((context) => {
  if (missing !== null) context.skip(missing)
  https.behaviour = 'serve'
  https.authorizations.length = 0
  elsewhere.authorizations.length = 0
})

const deployKey = (hostKeys: readonly string[], of = key): SourceCredentials => ({ deployKey: { ...of, hostKeys }, tokens: [] })
const token = (text = TOKEN, host = https.host): SourceCredentials => ({
  deployKey: null,
  tokens: [{ host, username: 'oauth2', token: text }],
})

let count = 0
async function fetch(
  url: string,
  credentials: SourceCredentials | undefined,
  signal = new AbortController().signal,
  confined: ForeignPrograms = programs,
) {
  const source = await hostGitSource(root, { programs: confined, memory, caFile: https.caFile })
  const directory = join(root, `checkout${count++}`)
  const lines: string[] = []
  try {
    const given = credentials === undefined ? {} : { credentials }
    await source.fetch({ source: { kind: 'git', url, ref: 'main' }, directory, onLine: (line) => void lines.push(line), signal, ...given })
    expect(readFileSync(join(directory, 'a.txt'), 'utf8')).toBe('from a private repository')
    return { lines }
  } finally {
    expect(secretsIn(state), 'what a fetch leaves on disk').toEqual([])
    expect(lines.join('\n')).not.toMatch(secrets())
  }
}

/** The token, its Basic form and the body of the private key. */
function secrets(): RegExp {
  const body = key.privateKey.split('\n').slice(1, -2)
  const forms = [TOKEN, Buffer.from(`oauth2:${TOKEN}`).toString('base64'), ...body]
  return new RegExp(forms.map((form) => form.replaceAll(/[+/=]/g, '\\$&')).join('|'))
}

/** Files below a directory that hold one of them. */
function secretsIn(directory: string): string[] {
  if (!existsSync(directory)) return []
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => secrets().test(readFileSync(path, 'latin1')))
}

describe('over ssh with a deploy key', () => {
  test('a repository comes from a host whose key is pinned', async () => {
    const { lines } = await fetch(ssh.urlOf(repo.directory), deployKey([ssh.hostKey]))
    expect(lines[0]).toBe(`with the deploy key ${key.fingerprint}`)
  })

  test('also where the host has no bubblewrap', async () => {
    // Whoever runs git there has to come by.
    chmodSync(root, 0o711)
    const open = await hostPrograms(join(root, 'open'), 'none')
    await fetch(ssh.urlOf(repo.directory), deployKey([ssh.hostKey]), undefined, open)
    await fetch(https.urlOf('app'), token(), undefined, open)
  })

  test('a key that Node drew is one that OpenSSH reads, with the fingerprint that it shows', () => {
    const path = join(root, 'drawn')
    writeFileSync(path, key.privateKey, { mode: 0o600 })
    const derived = execFileSync('ssh-keygen', ['-y', '-f', path], { encoding: 'utf8' }).trim()
    expect(derived.split(' ').slice(0, 2)).toEqual(key.publicKey.split(' ').slice(0, 2))
    expect(execFileSync('ssh-keygen', ['-l', '-f', path], { encoding: 'utf8' })).toContain(key.fingerprint)
  })

  test('a host that is not pinned is refused before anything is said to it, with what to do', async () => {
    await expect(fetch(ssh.urlOf(repo.directory), deployKey([]))).rejects.toMatchObject({
      code: 'SOURCE_REFUSED',
      message: expect.stringContaining('no key of that host is pinned'),
      hint: expect.stringContaining('shiplock deploy-key pin'),
    })
  })

  test('a host that shows another key than the pinned one is refused', async () => {
    const before = ssh.hostKey
    ssh.drawHostKey()
    await ssh.restart()
    await expect(fetch(ssh.urlOf(repo.directory), deployKey([before]))).rejects.toMatchObject({
      code: 'SOURCE_REFUSED',
      message: expect.stringContaining('another key than the one that was pinned'),
    })
    await fetch(ssh.urlOf(repo.directory), deployKey([ssh.hostKey]))
  })

  test('a key that the host does not know is refused, and no other key of this machine is tried', async () => {
    await expect(fetch(ssh.urlOf(repo.directory), deployKey([ssh.hostKey], createSshKey('other')))).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringContaining('does not accept the ssh key'),
      hint: expect.stringContaining('shiplock deploy-key show'),
    })
  })

  test('the keys that a host shows are those it has', async () => {
    const lines = await readHostKeys(reader, ssh.host, new AbortController().signal)
    expect(lines).toEqual([parseHostKeyLine(ssh.hostKey)?.line])
    await expect(readHostKeys(reader, '127.0.0.1:9', new AbortController().signal)).rejects.toMatchObject({
      code: 'SOURCE_UNREACHABLE',
    })
  })

  test('a host key that is no plain line of known_hosts is not taken', () => {
    const [host, type, blob] = ssh.hostKey.split(' ')
    for (const line of [
      '',
      'x',
      `* ${type} ${blob}`,
      `a,b ${type} ${blob}`,
      `!a ${type} ${blob}`,
      `@cert-authority ${host} ${type} ${blob}`,
      `|1|x=|y= ${type} ${blob}`,
      `${host} ssh-rsa ${blob}`,
      `${host} ${type} AAAA`,
    ]) {
      expect(parseHostKeyLine(line), line).toBeNull()
    }
  })
})

describe('over https with a token', () => {
  test('a repository comes from the host that the token is for', async () => {
    const { lines } = await fetch(https.urlOf('app'), token())
    expect(lines[0]).toBe(`with the token for ${https.host}`)
    expect(new Set(https.authorizations).size).toBe(1)
  })

  test('without a token, or with one for another host, it is asked without, and the refusal says what to do', async () => {
    for (const credentials of [undefined, token(TOKEN, 'github.com'), token(TOKEN, '127.0.0.1')]) {
      await expect(fetch(https.urlOf('app'), credentials)).rejects.toMatchObject({
        code: 'SOURCE_NOT_FOUND',
        hint: expect.stringContaining('shiplock git-token set'),
      })
    }
    expect(new Set(https.authorizations)).toEqual(new Set(['']))
  })

  test('a token that the host refuses is said so', async () => {
    await expect(fetch(https.urlOf('app'), token('wrong-token-of-somebody'))).rejects.toMatchObject({
      code: 'SOURCE_NOT_FOUND',
      message: expect.stringContaining('it needs other credentials'),
    })
  })

  test('I8: a redirect to another host gets no token: it is not followed', async () => {
    https.behaviour = 'redirect'
    https.redirectTo = `https://${elsewhere.host}`
    await expect(fetch(https.urlOf('app'), token())).rejects.toMatchObject({ message: expect.stringContaining('redirects to another') })
    expect(elsewhere.authorizations).toEqual([])
  })

  test('a host that dies in the middle of a clone is one to try again', async () => {
    https.behaviour = 'die'
    await expect(fetch(https.urlOf('app'), token())).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  })

  test('a host that never answers is left when the deployment is canceled', async () => {
    https.behaviour = 'hang'
    const abort = new AbortController()
    const fetching = fetch(https.urlOf('app'), token(), abort.signal)
    const canceled = expect(fetching).rejects.toThrow('canceled by a person')
    while (https.authorizations.length === 0) await new Promise((resolve) => setImmediate(resolve))
    abort.abort(new Error('canceled by a person'))
    await canceled
  })

  test('a certificate that nobody vouches for is refused', async () => {
    await expect(fetch(elsewhere.urlOf('app'), token(TOKEN, elsewhere.host))).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
    expect(elsewhere.authorizations).toEqual([])
  })
})

describe('I8: while a clone goes on', () => {
  test('neither token nor key stands in a command line of any process', async () => {
    https.behaviour = 'hang'
    const seen = new Set<string>()
    const silent = await holdConnections()
    const abort = new AbortController()
    const fetches = [
      fetch(https.urlOf('app'), token(), abort.signal),
      fetch(`ssh://git@127.0.0.1:${silent.port}/app`, deployKey([ssh.hostKey]), abort.signal),
    ].map((one) => one.catch(() => {}))
    try {
      while (https.authorizations.length === 0 || silent.sockets.length === 0) await new Promise((resolve) => setImmediate(resolve))
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
          seen.add(readFileSync(`/proc/${pid}/cmdline`, 'latin1'))
        } catch {}
      }
      expect(memory.isInMemory).toBe(true)
      // One room has the token in git's environment, the other one the key in a file.
      const settings = readdirSync(join(state, 'git')).map((room) => join(state, 'git', room, 'settings'))
      expect(settings).toHaveLength(2)
      const modes = settings
        .flatMap((path) => [path, join(path, 'key')])
        .flatMap((path) => statSync(path, { throwIfNoEntry: false })?.mode ?? [])
      expect(modes.map((mode) => (mode & 0o777).toString(8)).sort()).toEqual(['600', '700', '700'])
    } finally {
      abort.abort(new Error('enough'))
      silent.close()
      // The state directory is looked at when both are over.
      await Promise.all(fetches)
    }
    const ours = [...seen].filter((line) => line.includes(https.host) || line.includes(String(silent.port)))
    expect(ours.length).toBeGreaterThanOrEqual(2)
    for (const line of seen) expect(line).not.toMatch(secrets())
    expect(secretsIn(state)).toEqual([])
  })

  test('what a server that was killed left behind is swept at the next start', async () => {
    const old = join(root, 'old')
    mkdirSync(join(old, 'credentials', 'dead'), { recursive: true })
    writeFileSync(join(old, 'credentials', 'dead', 'key'), key.privateKey)
    await memory.write('git/dead/settings/key', key.privateKey)
    expect(secretsIn(state)).toHaveLength(1)
    await sweepGitRooms(memory, old, programs)
    expect([...secretsIn(state), ...secretsIn(old)]).toEqual([])
    expect(existsSync(state)).toBe(false)
  })
})

/** Takes connections and says nothing. */
async function holdConnections() {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    socket.on('error', () => {})
    sockets.push(socket)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const close = () => {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
  return { sockets, port, close }
}
