import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { createConfinedPrograms } from '../../src/sandbox/confined-programs.ts'
import { GitRepo } from '../support/git-repo.ts'
import { hostGitSource } from '../support/git-source.ts'
import { createPlainSandbox } from '../support/plain-sandbox.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

const root = mkdtempSync(join(tmpdir(), 'shiplock-boundary-'))
let server: TestServer
let developer: string
let owner: string
let plain: GitRepo

beforeAll(async () => {
  server = await startTestServer({ env: { SHIPLOCK_FILE_SOURCE_DIRECTORIES: `${root},/tmp/sl-nothing` } })
  for (const project of ['alpha', 'beta']) await server.call('POST', '/v1/projects', { name: project })
  const token = async (role: string) => (await server.call('POST', '/v1/tokens', { project: 'alpha', name: role, role })).token
  developer = await token('developer')
  owner = await token('owner')
  plain = new GitRepo(join(root, 'plain'))
  plain.commit('x', { 'index.html': 'hello' })
}, 120_000)
afterAll(async () => {
  await disposeServers()
  await removeTree(root)
})

const as = (token: string, method: string, path: string, body?: unknown) =>
  server.api(method, path, body, { authorization: `Bearer ${token}` })

/** The reply to a deployment and all that is said of it: the deployment, its log, its events, the server's own log. */
async function deployed(
  token: string,
  source: unknown,
): Promise<{ readonly status: number; readonly text: string; readonly code: string | null }> {
  const reply = await as(token, 'POST', '/v1/deployments', { project: 'alpha', service: 'web', source })
  if (reply.status >= 300) return { status: reply.status, text: JSON.stringify(reply.body) + server.log(), code: reply.body.code }
  const settled = await server.settled(reply.body.id)
  const said = [settled, await server.logLines(settled.id), await server.events(settled.id)]
  return { status: reply.status, text: JSON.stringify(said) + server.log(), code: settled.error?.code ?? null }
}

/** A bare repository of four files, as an app can make one, whose packed-refs is a link. */
function linkedRepository(directory: string, target: string): void {
  mkdirSync(join(directory, 'objects'), { recursive: true })
  mkdirSync(join(directory, 'refs', 'heads'), { recursive: true })
  writeFileSync(join(directory, 'HEAD'), 'ref: refs/heads/main\n')
  writeFileSync(join(directory, 'config'), '[core]\n\trepositoryformatversion=0\n\tbare=true\n')
  symlinkSync(target, join(directory, 'packed-refs'))
}

describe('I13: a path on the server', () => {
  test('is nothing that a developer or an owner of a project may name: not one that links to the admin token, and no other', async () => {
    const evil = join(root, 'evil')
    linkedRepository(evil, join(server.dataDirectory, 'admin-token'))
    for (const token of [developer, owner]) {
      for (const url of [`file://${evil}`, evil, `file://${plain.directory}`, `file://${server.dataDirectory}/instances/x`, '/etc']) {
        const { status, text, code } = await deployed(token, { kind: 'git', url, ref: null })
        expect({ status, code }, url).toEqual({ status: 403, code: 'FORBIDDEN' })
        expect(text).not.toContain(server.token)
      }
      const hook = await as(token, 'POST', '/v1/webhooks', { project: 'alpha', service: 'web', provider: 'github', repository: evil })
      expect(hook.status).toBe(403)
    }
  })

  test('is not read through links by the administrator either, and no line of what it leads to is shown', async () => {
    for (const [name, target] of Object.entries({ token: 'admin-token', key: 'secret-key' })) {
      const evil = join(root, `links-${name}`)
      const secret = join(server.dataDirectory, target)
      linkedRepository(evil, secret)
      const { text, code } = await deployed(server.token, { kind: 'git', url: `file://${evil}`, ref: null })
      expect(code).toBe('SOURCE_REFUSED')
      expect(text).toContain('packed-refs leads elsewhere')
      for (const word of readFileSync(secret, 'utf8').trim().split('\n')) expect(text).not.toContain(word)
    }
  })

  test('lies where the server’s owner has said, in its real place, and not in the data directory or around it', async () => {
    const outside = mkdtempSync(join(tmpdir(), 'shiplock-outside-'))
    try {
      const hidden = new GitRepo(join(outside, 'hidden'))
      hidden.commit('x', { 'index.html': 'x' })
      symlinkSync(hidden.directory, join(root, 'a-link'))
      linkedRepository(join(server.dataDirectory, 'r'), '/etc/hostname')
      for (const path of [
        hidden.directory,
        join(root, 'a-link'),
        `${root}/../${outside.split('/').at(-1)}/hidden`,
        join(server.dataDirectory, 'r'),
        '/',
        '/etc',
      ]) {
        const { code } = await deployed(server.token, { kind: 'git', url: `file://${path}`, ref: null })
        expect(code, path).toBe('SOURCE_NOT_FOUND')
      }
    } finally {
      await removeTree(outside)
    }
  })

  test('that is a plain repository in such a directory is deployed by the administrator, whose service nobody else fetches again', async () => {
    const { text, code } = await deployed(server.token, { kind: 'git', url: `file://${plain.directory}`, ref: null })
    expect(code, text.slice(0, 3000)).toBeNull()
    expect((await as(developer, 'POST', '/v1/deployments', { project: 'alpha', service: 'web' })).status).toBe(403)
  })
})

describe('I13: a repository on the server', () => {
  const source = () => hostGitSource(root, { local: { directories: [root], forbidden: [] } })
  let count = 0
  const fetch = async (url: string) => {
    const lines: string[] = []
    const directory = join(root, `checkout${count++}`)
    const signal = new AbortController().signal
    const given = { source: { kind: 'git' as const, url, ref: null }, directory, signal }
    const revision = await (await source()).fetch({ ...given, onLine: (line) => void lines.push(line) })
    return { revision, directory, lines }
  }

  test('that leads elsewhere by alternates, a common directory or a .git file is refused', async () => {
    const other = new GitRepo(join(root, 'other'))
    other.commit('secret', { a: 'x' })
    const made = (name: string, change: (git: string) => void) => {
      const repo = new GitRepo(join(root, name))
      repo.commit('x', { a: '1' })
      change(join(repo.directory, '.git'))
      return repo.directory
    }
    const objects = join(other.directory, '.git', 'objects')
    for (const [name, change] of Object.entries({
      alternates: (git: string) => writeFileSync(join(git, 'objects', 'info', 'alternates'), `${objects}\n`),
      commondir: (git: string) => writeFileSync(join(git, 'commondir'), `${join(other.directory, '.git')}\n`),
      'linked-objects': (git: string) => {
        renameSync(join(git, 'objects'), join(git, 'old'))
        symlinkSync(objects, join(git, 'objects'))
      },
      'linked-git': (git: string) => {
        renameSync(git, `${git}-old`)
        symlinkSync(join(other.directory, '.git'), git)
      },
    })) {
      await expect(fetch(made(name, change)), name).rejects.toMatchObject({ message: expect.stringContaining('leads elsewhere') })
    }
    const worktree = join(root, 'worktree')
    other.git('worktree', 'add', '--quiet', worktree)
    await expect(fetch(worktree)).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' })
  })

  test('is read as another user than the server, and the tree belongs to the server afterwards', async () => {
    const hidden = new GitRepo(join(root, 'only-for-root'))
    hidden.commit('x', { a: '1' })
    const { directory } = await fetch(hidden.directory)
    expect(readdirSync(directory)).toEqual(['a'])
    const uid = process.getuid?.()
    expect(lstatSync(join(directory, 'a')).uid).toBe(uid)
    if (uid !== 0) return
    // Now git's own user can't read it any more: the server's rights do not help.
    chmodSync(join(hidden.directory, '.git', 'objects'), 0o700)
    await expect(fetch(hidden.directory)).rejects.toMatchObject({ code: expect.stringMatching(/^SOURCE_/) })
  })

  test('is refused in the same way where nothing confines git', async () => {
    const evil = join(root, 'unconfined')
    linkedRepository(evil, '/etc/hostname')
    const programs = createConfinedPrograms(createPlainSandbox())
    const unconfined = await hostGitSource(root, { programs })
    const given = { source: { kind: 'git' as const, url: evil, ref: null }, directory: join(root, 'never'), onLine: () => {} }
    await expect(unconfined.fetch({ ...given, signal: new AbortController().signal })).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
    expect(existsSync(join(root, 'never'))).toBe(false)
  })
})
