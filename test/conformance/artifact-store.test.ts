import { spawn } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { createTreeStore } from '../../src/artifacts/tree-store.ts'
import { runCommand } from '../../src/core/exec.ts'
import { treeDigest } from '../../src/core/tree-digest.ts'
import type { Digest } from '../../src/domain/ids.ts'
import { bundle } from '../support/bundle.ts'
import { type TreeFiles, writeFiles } from '../support/git-repo.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

function fixture() {
  const root = temporaryDirectory()
  const directory = join(root, 'store')
  const store = createTreeStore({ directory })
  let count = 0
  const tree = (files: TreeFiles) => {
    const path = join(root, `tree${count++}`)
    mkdirSync(path)
    writeFiles(path, files)
    return path
  }
  return { root, directory, store, tree }
}
const APP: TreeFiles = { 'a.js': 'one', 'bin/run': { script: '#!/bin/sh\n' }, 'bin/alias': { link: 'run' } }

test('a stored tree is found by its digest, whole and read only, and the given directory is taken over', async () => {
  const { store, tree } = fixture()
  const path = tree(APP)
  const expected = await treeDigest(path)
  const artifact = await store.put(path)
  expect(artifact).toEqual({ kind: 'tree', ...expected })
  expect(existsSync(path)).toBe(false)
  const stored = (await store.find(artifact.digest)) ?? ''
  expect((await treeDigest(stored)).digest).toBe(artifact.digest)
  const mode = (name: string) => (statSync(join(stored, name)).mode & 0o7777).toString(8)
  expect([mode(''), mode('bin'), mode('a.js'), mode('bin/run')]).toEqual(['555', '555', '444', '555'])
  expect(await store.verify(artifact.digest)).toBe(true)
  expect(await store.list()).toEqual([{ digest: artifact.digest, bytes: expected.bytes }])
})

test('equal trees share storage, also when they come at the same time', async () => {
  const { store, tree, directory } = fixture()
  const artifacts = await Promise.all([1, 2, 3, 4].map(() => store.put(tree(APP))))
  expect(new Set(artifacts.map(({ digest }) => digest)).size).toBe(1)
  expect(await store.list()).toHaveLength(1)
  expect(readdirSync(join(directory, 'incoming'))).toEqual([])
})

test('what is not there: find answers null, verify false, remove succeeds', async () => {
  const { store } = fixture()
  const digest = `sha256:${'0'.repeat(64)}` as Digest
  expect(await store.find(digest)).toBeNull()
  expect(await store.verify(digest)).toBe(false)
  await store.remove(digest)
})

test('I9: what is no digest never becomes a path', async () => {
  const { store } = fixture()
  for (const digest of ['../../etc', 'sha256:../x', 'sha256:', `sha256:${'A'.repeat(64)}`] as Digest[]) {
    await expect(store.find(digest)).rejects.toThrow('not an artifact digest')
    await expect(store.remove(digest)).rejects.toThrow('not an artifact digest')
  }
})

test('a removed tree is gone, read only as it was', async () => {
  const { store, tree, directory } = fixture()
  const { digest } = await store.put(tree(APP))
  await store.remove(digest)
  await store.remove(digest)
  expect(await store.find(digest)).toBeNull()
  expect(readdirSync(directory)).toEqual(['incoming'])
})

test('I7: damage is found, and the next put of the same tree mends it', async () => {
  const { store, tree } = fixture()
  const { digest } = await store.put(tree(APP))
  const file = join((await store.find(digest)) ?? '', 'a.js')
  chmodSync(file, 0o644)
  writeFileSync(file, 'two')
  expect(await store.verify(digest)).toBe(false)
  await store.put(tree(APP))
  expect(await store.verify(digest)).toBe(true)
  expect(readFileSync(join((await store.find(digest)) ?? '', 'a.js'), 'utf8')).toBe('one')
})

test('a stored file is not changed through another name that the build kept', async () => {
  const { root, store, tree } = fixture()
  const path = tree({ a: 'one' })
  linkSync(join(path, 'a'), join(root, 'other-name'))
  const { digest } = await store.put(path)
  writeFileSync(join(root, 'other-name'), 'two')
  expect(await store.verify(digest)).toBe(true)
})

test('I9: links out of the tree, sockets and pipes are refused by path, and nothing stays', async () => {
  const { store, tree, directory } = fixture()
  const leaving = tree({ ok: 'x' })
  symlinkSync('/etc/passwd', join(leaving, 'l'))
  await expect(store.put(leaving)).rejects.toMatchObject({
    code: 'BUILD_FAILED',
    message: 'l is a link that leaves the artifact (to /etc/passwd)',
  })
  const withSocket = tree({ ok: 'x' })
  const server = createServer()
  onTestFinished(() => void server.close())
  await new Promise<void>((resolve) => server.listen(join(withSocket, 's'), resolve))
  await expect(store.put(withSocket)).rejects.toMatchObject({ code: 'BUILD_FAILED', message: expect.stringContaining('s is a socket') })
  const withPipe = tree({ ok: 'x' })
  await runCommand('mkfifo', [join(withPipe, 'p')], { env: { PATH: '/usr/bin:/bin' } })
  await expect(store.put(withPipe)).rejects.toThrow('p is a socket, pipe or device')
  expect(readdirSync(directory)).toEqual(['incoming'])
  expect(readdirSync(join(directory, 'incoming'))).toEqual([])
})

test('I10: a user who knows the digest can read the tree, nobody can list the store', async () => {
  const { store, tree, directory } = fixture()
  const { digest } = await store.put(tree(APP))
  expect(statSync(directory).mode & 0o777).toBe(0o711)
  expect(statSync(join(directory, 'incoming')).mode & 0o777).toBe(0o700)
  expect(statSync(join((await store.find(digest)) ?? '', '..')).mode & 0o777).toBe(0o711)
})

test.runIf(process.getuid?.() === 0)('a tree that belonged to a build’s user belongs to the server afterwards', async () => {
  const { store, tree } = fixture()
  const path = tree(APP)
  for (const name of ['', 'a.js', 'bin', 'bin/run']) chownSync(join(path, name), 12345, 12345)
  const stored = (await store.find((await store.put(path)).digest)) ?? ''
  expect(['', 'a.js', 'bin', 'bin/run', 'bin/alias'].map((name) => lstatSync(join(stored, name)).uid)).toEqual([0, 0, 0, 0, 0])
})

test('a tree of many files is stored as one', async () => {
  const { store, tree } = fixture()
  const files = Object.fromEntries(Array.from({ length: 600 }, (_, at) => [`node_modules/m${at % 30}/f${at}.js`, `${at}`]))
  const artifact = await store.put(tree(files))
  expect(artifact.files).toBe(600)
  expect(await store.verify(artifact.digest)).toBe(true)
})

test('I5: kill -9 in the middle of puts loses no tree that was acknowledged and leaves no half one', async () => {
  const { root, directory } = fixture()
  const acknowledged = new Set<Digest>()
  const program = await bundle('programs/put-forever.ts', join(root, 'program'))
  for (let round = 0; round < 6; round++) {
    const scratch = join(root, `scratch${round}`)
    mkdirSync(scratch)
    const child = spawn(process.execPath, [program, directory, scratch, String(round * 1000)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk) => {
        text += chunk
        // Killed at a different point of the next put each time.
        if (text.split('\n').length > 3 + round) setTimeout(() => child.kill('SIGKILL'), round * 3)
      })
      child.once('close', () => resolve())
    })
    for (const line of text.split('\n')) if (/^sha256:[0-9a-f]{64}$/.test(line)) acknowledged.add(line as Digest)
  }
  expect(acknowledged.size).toBeGreaterThan(15)
  const store = createTreeStore({ directory })
  const listed = (await store.list()).map(({ digest }) => digest)
  for (const digest of acknowledged) expect(listed).toContain(digest)
  for (const digest of listed) expect(await store.verify(digest)).toBe(true)
  expect(readdirSync(join(directory, 'incoming'))).toEqual([])
})
