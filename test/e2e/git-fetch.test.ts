import { chownSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync } from 'node:fs'
import { createServer } from 'node:http'
import { createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { expect, test } from 'vitest'
import type { Revision } from '../../src/domain/deployment.ts'
import type { GitSourceOptions } from '../../src/sources/git.ts'
import { createGit } from '../../src/sources/git-command.ts'
import { GitRepo } from '../support/git-repo.ts'
import { hostGitSource, hostPrograms } from '../support/git-source.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

interface Fetched {
  readonly revision: Extract<Revision, { kind: 'git' }>
  readonly directory: string
  readonly lines: readonly string[]
}

function fixture(options: Partial<GitSourceOptions> = {}) {
  const root = temporaryDirectory()
  const repo = new GitRepo(join(root, 'origin'))
  const made = hostGitSource(root, options)
  let count = 0
  const fetch = async (ref: string | null, url: string = repo.directory, signal = new AbortController().signal): Promise<Fetched> => {
    const directory = join(root, `checkout${count++}`)
    const lines: string[] = []
    try {
      const source = await made
      const revision = await source.fetch({ source: { kind: 'git', url, ref }, directory, onLine: (line) => void lines.push(line), signal })
      if (revision.kind !== 'git') throw new Error('not a git revision')
      return { revision, directory, lines }
    } catch (error) {
      expect(existsSync(directory), 'a failed fetch leaves no directory').toBe(false)
      throw error
    }
  }
  return { root, repo, source: made, fetch }
}

test('branch, tag, annotated tag, commit, abbreviated commit and the default branch give exactly that commit', async () => {
  const { repo, fetch } = fixture()
  const first = repo.commit('first', { 'a.txt': '1' })
  repo.git('tag', 'v1')
  repo.git('tag', '-a', 'v1-annotated', '-m', 'a tag')
  const second = repo.commit('second', { 'a.txt': '2' })
  repo.git('checkout', '--quiet', '-b', 'feature/x')
  const third = repo.commit('third', { 'a.txt': '3' })
  repo.git('checkout', '--quiet', 'main')
  const expected: [string | null, string, string][] = [
    [null, second, '2'],
    ['main', second, '2'],
    ['refs/heads/main', second, '2'],
    ['feature/x', third, '3'],
    ['v1', first, '1'],
    ['v1-annotated', first, '1'],
    [first, first, '1'],
    [third.slice(0, 9), third, '3'],
  ]
  for (const [ref, commit, content] of expected) {
    const { revision, directory } = await fetch(ref)
    expect(revision, String(ref)).toMatchObject({ commit, author: 'Ada Author <ada@example.org>', ref: ref === null ? 'main' : ref })
    expect(readFileSync(join(directory, 'a.txt'), 'utf8')).toBe(content)
    expect(readdirSync(directory)).toEqual(['a.txt'])
  }
})

test('a branch wins over a tag of the same name, and the fetch is shallow', async () => {
  const { repo, fetch } = fixture()
  repo.commit('first', { a: '1' })
  repo.git('tag', 'same')
  repo.git('checkout', '--quiet', '-b', 'same')
  const commit = repo.commit('second', { a: '2' })
  expect((await fetch('same', pathToFileURL(repo.directory).href)).revision).toMatchObject({ commit, message: 'second' })
})

test('modes and links come as they are committed', async () => {
  const { repo, fetch } = fixture()
  repo.commit('x', { run: { script: '#!/bin/sh\n' }, link: { link: 'run' } })
  const { directory } = await fetch(null)
  expect(readlinkSync(join(directory, 'link'))).toBe('run')
})

test('an old commit comes from a server that gives out only branches and tags', async () => {
  const { repo, fetch } = fixture({ protocolVersion: 0 })
  const first = repo.commit('first', { a: '1' })
  repo.commit('second', { a: '2' })
  const { revision, lines } = await fetch(first)
  expect(revision.commit).toBe(first)
  expect(lines.join('\n')).toContain('only branches and tags')
  await expect(fetch('0'.repeat(40))).rejects.toMatchObject({ code: 'REF_NOT_FOUND' })
})

test('what does not exist is said by name, with what does', async () => {
  const { repo, root, fetch } = fixture()
  await expect(fetch(null)).rejects.toMatchObject({ code: 'REF_NOT_FOUND', message: expect.stringContaining('is empty') })
  repo.commit('x', { a: '1' })
  repo.git('tag', 'v1.0')
  await expect(fetch('mian')).rejects.toMatchObject({
    code: 'REF_NOT_FOUND',
    message: 'the repository has no branch, tag or commit mian; it has main, v1.0',
    hint: expect.stringContaining('Did you mean main?'),
  })
  await expect(fetch('f'.repeat(40))).rejects.toMatchObject({ code: 'REF_NOT_FOUND' })
  await expect(fetch('abcdef1')).rejects.toMatchObject({ code: 'REF_NOT_FOUND' })
  await expect(fetch(null, join(root, 'nowhere'))).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' })
  mkdirSync(join(root, 'no-repository'))
  await expect(fetch(null, join(root, 'no-repository'))).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' })
})

test('a host that can’t be reached is told from one that answers no', async () => {
  const { fetch } = fixture()
  await expect(fetch(null, 'https://127.0.0.1:9/r.git')).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  await expect(fetch(null, 'https://host.invalid/r.git')).rejects.toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  await expect(fetch(null, 'ssh://git@127.0.0.1:9/r.git')).rejects.toMatchObject({
    code: 'SOURCE_REFUSED',
    message: expect.stringContaining('no deploy key'),
  })
})

test('I9: a host that answers in plain HTTP, or with escape sequences, does not reach the log raw', async () => {
  const { fetch } = fixture()
  const server = createServer((_, response) => response.end('\u001b[2J'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as { port: number }
    const error = (await fetch(null, `https://127.0.0.1:${port}/r.git`).catch((thrown) => thrown)) as Error
    expect(error.message).not.toContain('\u001b')
    expect(error).toMatchObject({ code: 'SOURCE_UNREACHABLE' })
  } finally {
    server.close()
    server.closeAllConnections()
  }
})

test('a server without git says so', async () => {
  const { repo, fetch } = fixture({ searchPath: '/nonexistent' })
  repo.commit('x', { a: '1' })
  await expect(fetch(null)).rejects.toMatchObject({ code: 'RUNTIME_UNAVAILABLE', message: 'git is not installed on this server' })
})

test('an abort ends a fetch that hangs, git and all', async () => {
  const { fetch } = fixture()
  const abort = new AbortController()
  const server = createTcpServer((socket) => {
    socket.on('error', () => {})
    abort.abort(new Error('canceled by a person'))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const { port } = server.address() as { port: number }
    await expect(fetch(null, `https://127.0.0.1:${port}/r.git`, abort.signal)).rejects.toThrow('canceled by a person')
  } finally {
    server.close()
  }
})

test('I9: nothing of the repository runs: hooks, filters, helpers and settings stay without effect', async () => {
  const { root, repo, fetch } = fixture()
  const mark = join(root, 'ran')
  const touch = `#!/bin/sh\ntouch ${mark}\n`
  repo.commit('x', {
    '.gitattributes': '* filter=evil diff=evil\n',
    a: '1',
    '.gitmodules': '[submodule "s"]\n\tpath = s\n\turl = ext::sh\n',
  })
  for (const hook of ['post-checkout', 'post-merge', 'pre-receive', 'reference-transaction']) {
    repo.commit('hook', { [`hooks/${hook}`]: { script: touch } })
  }
  repo.git('config', 'core.hooksPath', join(repo.directory, 'hooks'))
  repo.git('config', 'core.fsmonitor', `touch ${mark}`)
  repo.git('config', 'uploadpack.packObjectsHook', `touch ${mark}; exec`)
  repo.git('config', 'filter.evil.smudge', `touch ${mark}; cat`)
  const { directory } = await fetch('main')
  expect(readFileSync(join(directory, 'a'), 'utf8')).toBe('1')
  expect(existsSync(mark)).toBe(false)
})

test('pointers of LFS are refused: they would be served as if they were the files', async () => {
  const { repo, fetch } = fixture()
  const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 12345\n`
  repo.commit('x', { '.gitattributes': '*.bin filter=lfs\n', 'assets/model.bin': pointer, 'text.txt': 'x' })
  await expect(fetch(null)).rejects.toMatchObject({
    code: 'SOURCE_REFUSED',
    message: '1 file is a pointer of Git LFS in place of the content: assets/model.bin',
  })
})

/** A repository with others in it: `path` → what `.gitmodules` says and the commit that the tree links to. */
function withSubmodules(repo: GitRepo, modules: Record<string, { url: string; commit: string }>, isListed = true): void {
  const text = Object.entries(modules).map(([path, { url }]) => `[submodule "${path}"]\n\tpath = ${path}\n\turl = ${url}\n`)
  repo.commit('files', isListed ? { '.gitmodules': text.join(''), a: '1' } : { a: '1' })
  for (const [path, { commit }] of Object.entries(modules)) repo.git('update-index', '--add', '--cacheinfo', `160000,${commit},${path}`)
  repo.git('commit', '--quiet', '-m', 'with submodules')
}

test('submodules are fetched at exactly their commits, those within them too', async () => {
  const { root, repo, fetch } = fixture()
  const [lib, deep] = [new GitRepo(join(root, 'lib')), new GitRepo(join(root, 'deep'))]
  const inner = deep.commit('deep', { 'd.txt': 'deep' })
  withSubmodules(lib, { 'vendor/deep': { url: '../deep', commit: inner } })
  const commit = lib.git('rev-parse', 'HEAD')
  lib.commit('later', { a: '2' })
  withSubmodules(repo, { 'vendor/lib': { url: '../lib', commit }, theme: { url: '../deep', commit: inner } })
  const { directory } = await fetch(null)
  const read = (path: string) => readFileSync(join(directory, path), 'utf8')
  expect([read('a'), read('vendor/lib/a'), read('vendor/lib/vendor/deep/d.txt'), read('theme/d.txt')]).toEqual(['1', '1', 'deep', 'deep'])
  expect(
    readdirSync(directory, { recursive: true }).filter((name) => String(name).includes('.git/') || String(name).endsWith('.git')),
  ).toEqual([])
})

test.each<[string, string, boolean, string]>([
  ['a path of the server', 'file:///srv/secret', true, 'which a repository may not name'],
  ['a path without a scheme', '/srv/secret', true, 'which a repository may not name'],
  ['a helper', 'ext::sh -c id', true, 'holds white space'],
  ['an option', '--upload-pack=x', true, 'begins with a dash'],
  ['another protocol', 'http://example.com/x.git', true, 'uses http://'],
  ['nothing', '../lib', false, 'has no address in .gitmodules'],
])('I9: a submodule at %s is refused', async (_, url, isListed, says) => {
  const { repo, fetch } = fixture()
  withSubmodules(repo, { vendor: { url, commit: repo.commit('x', { a: '1' }) } }, isListed)
  await expect(fetch(null)).rejects.toThrow(says)
})

test('I12: submodules within each other end at a bound', async () => {
  const { root, repo, fetch } = fixture()
  let [below, commit] = ['', '']
  for (let depth = 0; depth < 6; depth++) {
    const lib = new GitRepo(join(root, `lib${depth}`))
    if (depth === 0) commit = lib.commit('x', { a: '1' })
    else withSubmodules(lib, { sub: { url: below, commit } })
    if (depth > 0) commit = lib.git('rev-parse', 'HEAD')
    below = `../lib${depth}`
  }
  withSubmodules(repo, { sub: { url: below, commit } })
  await expect(fetch(null)).rejects.toMatchObject({ code: 'SOURCE_REFUSED', message: expect.stringContaining('nest deeper than 4') })
})

test('a message with control characters is recorded in a harmless form', async () => {
  const { repo, fetch } = fixture()
  repo.commit('red \u001b[31malert\u001b[0m \u0007\u202etxt', { a: '1' })
  expect((await fetch(null)).revision.message).toBe('red alert \ufffd\ufffdtxt')
})

test('I12: a tree that names one blob without end is refused before it is checked out', async () => {
  const { repo, fetch } = fixture({ bytesMax: 5_000_000 })
  repo.commit('x', { f: 'x'.repeat(1000) })
  let tree = repo.git('rev-parse', 'HEAD^{tree}')
  for (let depth = 0; depth < 9; depth++) {
    const lines = Array.from({ length: 10 }, (_, at) => `040000 tree ${tree}\td${at}`).join('\n')
    tree = repo.gitInput(`${lines}\n`, 'mktree')
  }
  repo.git('update-ref', 'refs/heads/bomb', repo.git('commit-tree', tree, '-m', 'bomb'))
  await expect(fetch('bomb')).rejects.toMatchObject({ code: 'SOURCE_REFUSED', message: expect.stringContaining('5000000 bytes') })
})

test.runIf(process.getuid?.() === 0)('a repository of another user is fetched, without anybody’s global configuration', async () => {
  const { root, repo, fetch } = fixture()
  const commit = repo.commit('x', { a: '1' })
  const bare = join(root, 'bare.git')
  repo.git('clone', '--quiet', '--bare', '.', bare)
  for (const directory of [repo.directory, bare]) {
    chownSync(directory, 12345, 12345)
    for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) chownSync(join(directory, path), 12345, 12345)
    expect((await fetch('main', directory)).revision.commit).toBe(commit)
  }
  expect((await fetch('main', join(root, 'bare'))).revision.commit).toBe(commit)
  symlinkSync(bare, join(root, 'a link'))
  expect((await fetch('main', join(root, 'a link'))).revision.commit).toBe(commit)
})

test('I9: git itself refuses other protocols, should an address ever get past the check', async () => {
  const { root } = fixture()
  const mark = join(root, 'ran')
  const programs = await hostPrograms(root)
  const room = await programs.open({ purpose: 'git', projectId: null, directory: join(root, 'origin'), mounts: [], memoryMb: 512 })
  const about = { searchPath: '/usr/bin:/bin', protocolVersion: 2, caFile: null, configuration: null, settings: [], env: {} } as const
  const git = createGit({ ...about, room, protocol: 'https', home: '/nonexistent' })
  const signal = new AbortController().signal
  for (const url of [`ext::sh -c touch% ${mark}`, `file://${root}/origin`, 'http://127.0.0.1:9/r', 'git://127.0.0.1:9/r']) {
    const result = await git(['ls-remote', '--', url], { signal })
    expect(result.exitCode).not.toBe(0)
    expect(result.stderrTail.join('\n')).toMatch(/transport '\w+' not allowed/)
  }
  expect(existsSync(mark)).toBe(false)
})

test('the commit of a push is fetched while it is on its branch, and only then', async () => {
  const { root, repo, source } = fixture()
  const first = repo.commit('first', { 'a.txt': '1' })
  const second = repo.commit('second', { 'a.txt': '2' })
  repo.git('checkout', '--quiet', '-b', 'fork', first)
  const foreign = repo.commit('not on main', { 'a.txt': 'evil' })
  repo.git('checkout', '--quiet', 'main')
  let count = 0
  const pushed = async (commit: string) => {
    const directory = join(root, `pushed${count++}`)
    const lines: string[] = []
    const about = { kind: 'git' as const, url: repo.directory, ref: 'refs/heads/main' }
    const signal = new AbortController().signal
    const revision = await (await source).fetch({ source: about, commit, directory, onLine: (line) => void lines.push(line), signal })
    return { revision, lines: lines.join('\n'), content: readFileSync(join(directory, 'a.txt'), 'utf8') }
  }
  expect(await pushed(second)).toMatchObject({ revision: { commit: second }, content: '2' })
  expect(await pushed(first)).toMatchObject({
    revision: { commit: first },
    content: '1',
    lines: expect.stringContaining('has moved on since'),
  })
  for (const elsewhere of [foreign, 'f'.repeat(40)]) {
    const { revision, lines, content } = await pushed(elsewhere)
    expect({ revision, content }).toMatchObject({ revision: { commit: second }, content: '2' })
    expect(lines).toContain('its tip is taken')
  }
})

test('heads: the default branch and those that are asked for, as far as they exist', async () => {
  const { repo, source } = fixture()
  const main = repo.commit('first', { 'a.txt': '1' })
  repo.git('checkout', '--quiet', '-b', 'develop')
  const develop = repo.commit('second', { 'a.txt': '2' })
  repo.git('checkout', '--quiet', 'main')
  const about = { kind: 'git' as const, url: repo.directory, ref: null }
  const heads = await (await source).readHeads?.({ source: about, branches: ['develop', 'gone'], signal: new AbortController().signal })
  expect(heads).toEqual({
    defaultBranch: 'main',
    branches: new Map([
      ['develop', develop],
      ['main', main],
    ]),
  })
  await expect(
    (await source).readHeads?.({ source: about, branches: ['--upload-pack=x'], signal: new AbortController().signal }),
  ).rejects.toThrow('begins with a dash')
})
