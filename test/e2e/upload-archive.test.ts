import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { treeDigest } from '../../src/core/tree-digest.ts'
import { packDirectory } from '../../src/sources/pack-directory.ts'
import { createUploadStore, type UploadStoreOptions } from '../../src/sources/upload.ts'
import { paxHeader, type RawEntry, rawTar, rawTarGz } from '../support/archives.ts'
import { type TreeFiles, writeFiles } from '../support/git-repo.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const signal = new AbortController().signal

async function unpacked(archive: Buffer, options: Partial<UploadStoreOptions> = {}): Promise<string> {
  const root = temporaryDirectory()
  const store = createUploadStore({ directory: join(root, 'uploads'), ...options })
  const { digest } = await store.receive(Readable.from([archive]), { signal })
  const directory = join(root, 'out')
  try {
    await store.fetch({ source: { kind: 'upload', digest, label: null }, directory, onLine: () => {}, signal })
  } catch (error) {
    expect(existsSync(directory), 'a refused upload leaves no directory').toBe(false)
    expect(readdirSync(root).sort(), 'nothing was written beside it').toEqual(['uploads'])
    throw error
  }
  return directory
}

const HOSTILE: readonly (readonly [string, readonly RawEntry[], RegExp])[] = [
  ['.. in a path', [{ name: '../evil', content: 'x' }], /"\.\.\/evil" has `\.\.` in its path/],
  ['.. deep in a path', [{ name: 'a/b/../../../evil', content: 'x' }], /has `\.\.` in its path/],
  ['.. by a pax path', [paxHeader({ path: '../evil' }), { name: 'good', content: 'x' }], /has `\.\.` in its path/],
  ['an absolute path', [{ name: '/etc/cron.d/evil', content: 'x' }], /has an absolute path/],
  ['an absolute link', [{ name: 'l', type: '2', linkname: '/etc/passwd' }], /leaves the archive/],
  ['a link out of the tree', [{ name: 'a/l', type: '2', linkname: '../../x' }], /leaves the archive/],
  [
    'a link out through another',
    [
      { name: 'x', type: '2', linkname: '.' },
      { name: 'y', type: '2', linkname: 'x/..' },
    ],
    /leaves the archive/,
  ],
  [
    'a file through a link',
    [
      { name: 'd', type: '2', linkname: '.' },
      { name: 'd/f', content: 'x' },
    ],
    /goes through d, which is a symlink/,
  ],
  [
    'a file through a file',
    [
      { name: 'd', content: 'x' },
      { name: 'd/f', content: 'x' },
    ],
    /goes through d, which is a file/,
  ],
  [
    'a directory over a link',
    [
      { name: 'd', type: '2', linkname: 'e' },
      { name: 'd/', type: '5' },
    ],
    /goes through d, which is a symlink/,
  ],
  [
    'a file over a link',
    [
      { name: 'd', type: '2', linkname: 'e' },
      { name: 'd', content: 'x' },
    ],
    /stands twice/,
  ],
  [
    'a file twice',
    [
      { name: 'd', content: 'x' },
      { name: './d', content: 'y' },
    ],
    /stands twice/,
  ],
  ['a hard link out of the tree', [{ name: 'h', type: '1', linkname: '/etc/shadow' }], /has an absolute path/],
  ['a hard link to ..', [{ name: 'h', type: '1', linkname: '../x' }], /has `\.\.` in its path/],
  [
    'a hard link to a later file',
    [
      { name: 'h', type: '1', linkname: 'f' },
      { name: 'f', content: 'x' },
    ],
    /no earlier file/,
  ],
  [
    'a hard link to a link',
    [
      { name: 'l', type: '2', linkname: 'x' },
      { name: 'h', type: '1', linkname: 'l' },
    ],
    /no earlier file/,
  ],
  ['a character device', [{ name: 'null', type: '3' }], /is a character-device/],
  ['a block device', [{ name: 'sda', type: '4' }], /is a block-device/],
  ['a fifo', [{ name: 'pipe', type: '6' }], /is a fifo/],
  ['a name with a line break', [paxHeader({ path: 'a\nb' }), { name: 'x', content: '' }], /control characters/],
  ['a name with an escape', [{ name: 'a\u001b[2Jb', content: '' }], /control characters/],
  ['a name that is not UTF-8', [{ name: Buffer.from([0x61, 0xff, 0x62]), content: '' }], /not valid UTF-8/],
  ['an endless name', [paxHeader({ path: `${'a/'.repeat(600)}b` }), { name: 'x', content: '' }], /longer than 1024 bytes/],
  ['an endless part of a name', [paxHeader({ path: 'a'.repeat(300) }), { name: 'x', content: '' }], /longer than 255 bytes/],
  [
    'a link with an endless target',
    [paxHeader({ linkpath: 'a'.repeat(2000) }), { name: 'x', type: '2', linkname: 'y' }],
    /unusable target/,
  ],
  ['a link without a target', [{ name: 'x', type: '2', linkname: '' }], /unusable target/],
  ['the root as a file', [{ name: './', type: '0', content: 'x' }], /root|directory|stands/],
]

test.each(HOSTILE)('I9: an archive with %s is refused by name', async (_, entries, reason) => {
  for (const archive of [rawTar(entries), rawTarGz(entries)]) {
    await expect(unpacked(archive)).rejects.toMatchObject({ code: 'UPLOAD_REFUSED', message: expect.stringMatching(reason) })
  }
})

test.each([
  ['half an archive', gzipSync(Buffer.alloc(50_000, 'x')).subarray(0, 60)],
  ['half a tar', rawTar([{ name: 'a', content: 'x'.repeat(5000) }]).subarray(0, 2000)],
  ['a broken checksum', Buffer.concat([Buffer.from('a'), rawTar([{ name: 'a', content: 'x' }]).subarray(1)]).fill('z', 1, 9)],
  ['a size that is a lie', rawTar([{ name: 'a', content: 'x', size: 1_000_000 }])],
  ['gzip of something else', gzipSync('hello '.repeat(1000))],
])('I9: %s is refused', async (_, archive) => {
  await expect(unpacked(archive)).rejects.toMatchObject({ code: 'UPLOAD_REFUSED' })
})

test('I9: what is no archive is refused on receipt, before it is stored', async () => {
  const directory = temporaryDirectory()
  const store = createUploadStore({ directory })
  for (const body of ['', 'hello', 'PK\u0003\u0004'.padEnd(600)]) {
    await expect(store.receive(Readable.from([Buffer.from(body)]), { signal })).rejects.toMatchObject({ code: 'UPLOAD_REFUSED' })
  }
  expect(readdirSync(directory)).toEqual([])
})

test('I12: bombs end at their bounds: bytes, entries, ratio', async () => {
  const bounds = { unpackedBytes: 100_000, entries: 50, ratio: 250 }
  const big = rawTarGz([{ name: 'zeros', content: Buffer.alloc(2_000_000) }])
  await expect(unpacked(big, { bounds })).rejects.toThrow('more than 100000 bytes')
  const links = rawTarGz([
    { name: 'f', content: Buffer.alloc(10_000, 'r') },
    ...Array.from({ length: 40 }, (_, at) => ({ name: `h${at}`, type: '1', linkname: 'f' })),
  ])
  await expect(unpacked(links, { bounds })).rejects.toThrow('more than 100000 bytes')
  const many = rawTarGz(Array.from({ length: 60 }, (_, at) => ({ name: `d${at}/`, type: '5' })))
  await expect(unpacked(many, { bounds })).rejects.toThrow('more than 50 entries')
  const deep = rawTarGz([
    { name: `${'d/'.repeat(49)}x`, content: '' },
    { name: `${'e/'.repeat(49)}x`, content: '' },
  ])
  await expect(unpacked(deep, { bounds })).rejects.toThrow('more than 50 entries')
  const zeros = rawTarGz([{ name: 'zeros', content: Buffer.alloc(64 * 1024 * 1024) }])
  await expect(unpacked(zeros)).rejects.toThrow('more than 250 times its size')
})

test('I12: a body above the bound is refused while it comes in, and leaves nothing', async () => {
  const directory = temporaryDirectory()
  const store = createUploadStore({ directory, bytesMax: 10_000 })
  let sent = 0
  async function* endless() {
    for (;;) {
      sent += 1000
      yield Buffer.alloc(1000)
    }
  }
  await expect(store.receive(endless(), { signal })).rejects.toMatchObject({ code: 'UPLOAD_TOO_LARGE' })
  expect(sent).toBeLessThan(15_000)
  expect(readdirSync(directory)).toEqual([])
})

test('a client that stalls is let go when the request is aborted', async () => {
  const directory = temporaryDirectory()
  const store = createUploadStore({ directory })
  const abort = new AbortController()
  async function* stalled() {
    yield Buffer.alloc(600)
    abort.abort(new Error('the client went away'))
    await new Promise(() => {})
  }
  await expect(store.receive(stalled(), { signal: abort.signal })).rejects.toThrow('the client went away')
  expect(readdirSync(directory)).toEqual([])
})

test('set-user-id bits, odd modes and owners do not come out', async () => {
  const directory = await unpacked(
    rawTar([
      { name: 'suid', content: 'x', mode: 0o6755 },
      { name: 'private', content: 'x', mode: 0o000 },
      { name: 'd/', type: '5', mode: 0o1000 },
      { name: 'd/f', content: 'x', mode: 0o666 },
    ]),
  )
  const modes = ['suid', 'private', 'd', 'd/f'].map((path) => (lstatSync(join(directory, path)).mode & 0o7777).toString(8))
  expect(modes).toEqual(['755', '644', '755', '644'])
})

test('a hard link becomes a file of its own', async () => {
  const directory = await unpacked(
    rawTar([
      { name: 'f', content: 'one' },
      { name: 'h', type: '1', linkname: './f' },
    ]),
  )
  writeFileSync(join(directory, 'f'), 'two')
  expect(readFileSync(join(directory, 'h'), 'utf8')).toBe('one')
})

test('what GNU tar writes is unpacked: long names, directories, links', async () => {
  const root = temporaryDirectory()
  const long = `${'directory-with-a-long-name/'.repeat(6)}file`
  writeFiles(root, { 'a.txt': 'one', [long]: 'two', 'bin/run': { script: '#!/bin/sh\n' }, link: { link: 'a.txt' }, 'ünï/ç.txt': 'three' })
  for (const format of ['gnu', 'pax', 'ustar']) {
    const archive = execFileSync('tar', ['-c', `--format=${format}`, '-C', root, '.'])
    expect((await treeDigest(await unpacked(archive))).digest).toBe((await treeDigest(root)).digest)
  }
})

test('packing and unpacking gives the same tree, and the same bytes each time', async () => {
  const name = fc.stringMatching(/^[a-cé ]{1,8}$/).filter((text) => text.trim() === text)
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'))
  const file = fc.oneof(
    fc.string({ maxLength: 2000 }),
    fc.record({ script: fc.string({ maxLength: 20 }) }),
    fc.record({ link: fc.constantFrom('a', './b', 'missing') }),
  )
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.tuple(path, file), { maxLength: 8, selector: ([at]) => at.split('/')[0] }), async (files) => {
      const root = temporaryDirectory()
      writeFiles(root, Object.fromEntries(files) as TreeFiles)
      const archive = await packed(root)
      expect((await treeDigest(await unpacked(archive))).digest).toBe((await treeDigest(root)).digest)
      expect(
        createHash('sha256')
          .update(await packed(root))
          .digest('hex'),
      ).toBe(createHash('sha256').update(archive).digest('hex'))
    }),
    { numRuns: 25 },
  )
})

async function packed(directory: string): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of (await packDirectory(directory)).stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}

test('an upload leaves out what the ignore files name, .git and node_modules', async () => {
  const root = temporaryDirectory()
  writeFiles(root, {
    '.git/config': 'x',
    'sub/.git/config': 'x',
    '.gitignore': 'dist\n*.log\n/.env\n',
    '.deployignore': '!dist\ndocs/\n',
    'dist/app.js': 'x',
    'docs/a.md': 'x',
    'a.log': 'x',
    '.env': 'x',
    'sub/.env': 'x',
    'sub/.gitignore': '!keep.log\n',
    'sub/keep.log': 'x',
    'node_modules/m/index.js': 'x',
    'sub/node_modules/m/index.js': 'x',
    'src/app.js': 'x',
  })
  const directory = await unpacked(await packed(root))
  const files = readdirSync(directory, { recursive: true, encoding: 'utf8' }).filter((path) => lstatSync(join(directory, path)).isFile())
  expect(files.sort()).toEqual(
    ['.deployignore', '.gitignore', 'dist/app.js', 'src/app.js', 'sub/.env', 'sub/.gitignore', 'sub/keep.log'].sort(),
  )
})

test('node_modules comes along when an ignore file brings it back', async () => {
  const root = temporaryDirectory()
  writeFiles(root, { '.deployignore': '!node_modules\n', 'node_modules/m/index.js': 'x' })
  expect(existsSync(join(await unpacked(await packed(root)), 'node_modules/m/index.js'))).toBe(true)
})

test('a directory inside a repository follows the ignore files above it', async () => {
  const root = temporaryDirectory()
  writeFiles(root, { '.git/HEAD': 'x', '.gitignore': 'build/\n', 'apps/api/build/x': 'x', 'apps/api/a.js': 'x' })
  expect(readdirSync(await unpacked(await packed(join(root, 'apps/api'))))).toEqual(['a.js'])
})

test('a link that leaves the directory is refused by the client, naming it', async () => {
  const root = temporaryDirectory()
  writeFiles(root, { 'a/l': { link: '/etc/hosts' } })
  await expect(packDirectory(root)).rejects.toThrow('a/l is a link that leaves the directory (to /etc/hosts)')
})

test('bodies that a crash cut short are gone when the store opens; one that still grows is somebody else’s', async () => {
  const directory = temporaryDirectory()
  mkdirSync(join(directory), { recursive: true })
  writeFileSync(join(directory, '0011.incoming'), 'half')
  utimesSync(join(directory, '0011.incoming'), new Date(0), new Date(0))
  writeFileSync(join(directory, '0012.incoming'), 'half')
  const store = createUploadStore({ directory })
  const { digest, bytes } = await store.receive(Readable.from([rawTar([{ name: 'a', content: 'x' }])]), { signal })
  expect((await store.list()).map((upload) => [upload.digest, upload.bytes])).toEqual([[digest, bytes]])
  expect(readdirSync(directory).filter((name) => name.endsWith('.incoming'))).toEqual(['0012.incoming'])
  await store.remove(digest)
  expect(await store.list()).toEqual([])
  await expect(
    store.fetch({ source: { kind: 'upload', digest, label: null }, directory: join(directory, 'x'), onLine: () => {}, signal }),
  ).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' })
})

test.each<[string, TreeFiles, string | null]>([
  [
    'pointers of LFS',
    {
      '.gitattributes': '*.png filter=lfs\n',
      'a.png': `version https://git-lfs.github.com/spec/v1\noid sha256:${'a'.repeat(64)}\nsize 9\n`,
    },
    '1 file is a pointer of Git LFS in place of the content: a.png',
  ],
  ['contents of LFS', { '.gitattributes': '*.png filter=lfs\n', 'a.png': 'PNG' }, null],
  [
    'an empty submodule',
    { '.gitmodules': '[submodule "t"]\n\tpath = theme\n', 'a.txt': '1' },
    'the submodule "theme" is an empty directory',
  ],
  ['a submodule with its files', { '.gitmodules': '[submodule "t"]\n\tpath = theme\n', 'theme/a.css': 'x' }, null],
  ['a path that leads out', { '.gitmodules': '[submodule "t"]\n\tpath = ../..\n', 'a.txt': '1' }, null],
])('a checkout that was sent without what git only links to is refused: %s', async (_, files, says) => {
  const tree = temporaryDirectory()
  writeFiles(tree, files)
  mkdirSync(join(tree, 'theme'), { recursive: true })
  const { stream } = await packDirectory(tree)
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  const outcome = unpacked(Buffer.concat(chunks))
  if (says === null) await expect(outcome).resolves.toBeTypeOf('string')
  else await expect(outcome).rejects.toThrow(says)
})
