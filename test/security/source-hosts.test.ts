import { mkdtempSync, readFileSync } from 'node:fs'
import { createServer as createHttpServer } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ForeignPrograms } from '../../src/core/foreign-programs.ts'
import { createHostGuard, type HostGuard } from '../../src/core/host-guard.ts'
import { post } from '../../src/core/outgoing.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { createSshKey } from '../../src/core/ssh-key.ts'
import { SYSTEM_PATH } from '../../src/sources/git.ts'
import { readHostKeys } from '../../src/sources/host-keys.ts'
import type { SourceCredentials } from '../../src/sources/source.ts'
import { GitRepo } from '../support/git-repo.ts'
import { HttpsGitServer, SshServer } from '../support/git-servers.ts'
import { hostGitSource, hostPrograms } from '../support/git-source.ts'
import { memoryOf } from '../support/memory-directories.ts'

const root = mkdtempSync(join(tmpdir(), 'shiplock-hosts-'))
const key = createSshKey('test')
const account = { username: 'oauth2', token: 'glpat-Zq7xK2vWm9Tr4LsPdN8b' }
let repo: GitRepo
let https: HttpsGitServer
let ssh: SshServer
let programs: ForeignPrograms

beforeAll(async () => {
  repo = new GitRepo(join(root, 'repos', 'app'))
  repo.commit('first', { 'a.txt': 'x' })
  https = await HttpsGitServer.start(join(root, 'https'), join(root, 'repos'), account)
  ssh = await SshServer.start(join(root, 'sshd'), [key.publicKey])
  programs = await hostPrograms(root)
})
afterAll(async () => {
  await https?.stop()
  await ssh?.stop()
  await removeTree(root)
})
beforeEach(() => {
  https.authorizations.length = 0
})

/** `git.test` is a name that nobody but the guard knows, and that leads to this machine. */
function known(allowed: readonly string[]): { readonly hosts: HostGuard; readonly asked: string[] } {
  const asked: string[] = []
  const hosts = createHostGuard({ reach: 'private', allowed }, async (name) => {
    asked.push(name)
    return name === 'git.test' ? ['127.0.0.1'] : []
  })
  return { hosts, asked }
}

let count = 0
async function fetch(url: string, hosts: HostGuard, credentials: SourceCredentials, ref = 'main'): Promise<string> {
  const source = await hostGitSource(root, { programs, hosts, caFile: https.caFile })
  const directory = join(root, `checkout${count++}`)
  const given = { source: { kind: 'git' as const, url, ref }, credentials, directory, signal: AbortSignal.timeout(60_000) }
  await source.fetch({ ...given, onLine: () => {} })
  return readFileSync(join(directory, 'a.txt'), 'utf8')
}
const port = (host: string) => host.split(':')[1]
const tokenFor = (host: string): SourceCredentials => ({ deployKey: null, tokens: [{ host, ...account }] })

describe('I13: this machine is no git host unless its owner says so', () => {
  test.each(['127.0.0.1', 'git.test', '2130706433', '0x7f.1', '[::ffff:127.0.0.1]', '127.0.0.1.'])(
    '%s over https is refused before it is called',
    async (name) => {
      const { hosts } = known([])
      const url = `https://${name}:${port(https.host)}/app`
      await expect(fetch(url, hosts, tokenFor(new URL(url).host))).rejects.toMatchObject({
        code: 'SOURCE_REFUSED',
        message: expect.stringContaining('an address that this server does not call'),
        hint: expect.stringContaining('SHIPLOCK_SOURCE_HOSTS'),
      })
      expect(https.authorizations).toEqual([])
    },
  )

  test('nor over ssh, nor when its keys are looked at', async () => {
    const { hosts } = known([])
    const credentials = { deployKey: { ...key, hostKeys: [ssh.hostKey] }, tokens: [] }
    await expect(fetch(ssh.urlOf(repo.directory), hosts, credentials)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
    const reader = { programs, hosts, searchPath: SYSTEM_PATH, memory: await memoryOf(root) }
    for (const host of [ssh.host, `git.test:${port(ssh.host)}`]) {
      await expect(readHostKeys(reader, host, AbortSignal.timeout(30_000))).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
    }
  })
})

describe('I13: the connection goes to the address that was looked up', () => {
  test('over https, though the system knows no such name, and the name is asked for once', async () => {
    const { hosts, asked } = known(['git.test'])
    const host = `git.test:${port(https.host)}`
    expect(await fetch(`https://${host}/app`, hosts, tokenFor(host))).toBe('x')
    expect(asked).toEqual(['git.test'])
    expect(https.authorizations.length).toBeGreaterThan(0)
  })

  test('over ssh, whose keys are pinned to the name', async () => {
    const { hosts } = known(['git.test'])
    const name = `git.test:${port(ssh.host)}`
    const reader = { programs, hosts, searchPath: SYSTEM_PATH, memory: await memoryOf(root) }
    const hostKeys = await readHostKeys(reader, name, AbortSignal.timeout(30_000))
    expect(hostKeys[0]).toContain(`[git.test]:${port(ssh.host)} `)
    const url = ssh.urlOf(repo.directory).replace('127.0.0.1', 'git.test')
    expect(await fetch(url, hosts, { deployKey: { ...key, hostKeys }, tokens: [] })).toBe('x')
    await expect(fetch(url, hosts, { deployKey: { ...key, hostKeys: [ssh.hostKey] }, tokens: [] })).rejects.toMatchObject({
      message: expect.stringContaining('no key of that host is pinned'),
    })
  })
})

describe('I13: a git host sends git nowhere else', () => {
  test('not by alternates, which a server of plain files may name', async () => {
    const hits: string[] = []
    const canary = createHttpServer((request, response) => {
      hits.push(request.url ?? '')
      response.end()
    })
    await new Promise<void>((resolve) => canary.listen(0, '127.0.0.1', resolve))
    const elsewhere = `http://127.0.0.1:${(canary.address() as AddressInfo).port}/secret`
    const commit = '1'.repeat(40)
    const files: Readonly<Record<string, string>> = {
      '/app/info/refs': `${commit}\trefs/heads/main\n`,
      '/app/HEAD': 'ref: refs/heads/main\n',
      '/app/objects/info/http-alternates': `${elsewhere}\n`,
      '/app/objects/info/alternates': `${elsewhere}\n`,
    }
    const asked: string[] = []
    const dumb = await listening(
      createServer({ key: readFileSync(join(root, 'https', 'key.pem')), cert: readFileSync(https.caFile) }, (request, response) => {
        const path = (request.url ?? '').split('?')[0] ?? ''
        asked.push(path)
        const text = files[path]
        response.writeHead(text === undefined ? 404 : 200, { 'content-type': 'text/plain' }).end(text ?? '')
      }),
    )
    try {
      const { hosts } = known(['git.test'])
      const host = `git.test:${(dumb.address() as AddressInfo).port}`
      // A commit that is no tip: its whole history is walked, file by file.
      await expect(fetch(`https://${host}/app`, hosts, tokenFor(host), '1111111')).rejects.toMatchObject({
        code: expect.stringMatching(/^SOURCE_/),
      })
      expect(asked).toContain('/app/info/refs')
      expect(asked.some((path) => path.startsWith('/app/objects/'))).toBe(true)
      expect(hits).toEqual([])
    } finally {
      canary.close()
      dumb.close()
      dumb.closeAllConnections()
    }
  })
})

test('the certificate authorities of git hosts hold for their API as well as for git', async () => {
  const host = await listening(
    createServer({ key: readFileSync(join(root, 'https', 'key.pem')), cert: readFileSync(https.caFile) }, (_request, response) =>
      response.end('ok'),
    ),
  )
  try {
    const url = `https://127.0.0.1:${(host.address() as AddressInfo).port}/api`
    const request = { url, headers: {}, body: '{}', reach: 'any' as const }
    await expect(post(request)).rejects.toMatchObject({ code: expect.stringMatching(/CERT|SIGNED|VERIFY/) })
    expect(await post({ ...request, authorities: readFileSync(https.caFile, 'utf8') })).toMatchObject({ status: 200, text: 'ok' })
  } finally {
    host.close()
  }
})

async function listening(server: Server): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
