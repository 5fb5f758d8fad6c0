import { chmodSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { copyTree } from './copy-tree.ts'
import { treeDigest } from './tree-digest.ts'
import { findLeavingLink } from './tree-links.ts'
import { walkTree } from './walk-tree.ts'

let root: string
let count = 0
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'shiplock-tree-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

type Node = { readonly path: string; readonly content: string; readonly executable?: boolean; readonly link?: string }

function make(nodes: readonly Node[]): string {
  const directory = join(root, `tree${count++}`)
  mkdirSync(directory)
  for (const node of nodes) {
    const path = join(directory, node.path)
    mkdirSync(dirname(path), { recursive: true })
    if (node.link === undefined) {
      writeFileSync(path, node.content)
      chmodSync(path, node.executable === true ? 0o755 : 0o640)
    } else symlinkSync(node.link, path)
  }
  return directory
}
const digestOf = async (...nodes: Node[]) => (await treeDigest(make(nodes))).digest

const A: Node = { path: 'a.txt', content: 'one' }
const B: Node = { path: 'sub/b.txt', content: 'two' }

test('the digest does not depend on the order of creation, times or the bits that do not matter', async () => {
  const first = make([A, B])
  const second = make([B, A])
  utimesSync(join(second, 'a.txt'), 1, 1)
  chmodSync(join(second, 'a.txt'), 0o444)
  chmodSync(join(second, 'sub'), 0o700)
  expect((await treeDigest(first)).digest).toBe((await treeDigest(second)).digest)
  expect(await treeDigest(first)).toMatchObject({ files: 2, bytes: 6 })
})

test.each([
  ['content', { ...A, content: 'other' }],
  ['name', { ...A, path: 'b.txt' }],
  ['place', { ...A, path: 'sub/a.txt' }],
  ['executable bit', { ...A, executable: true }],
  ['type', { ...A, link: 'one' }],
] as const)('I7: the %s counts', async (_, changed) => {
  expect(await digestOf(A, B)).not.toBe(await digestOf(changed, B))
})

test('a link counts by its target', async () => {
  expect(await digestOf({ path: 'l', content: '', link: 'x' })).not.toBe(await digestOf({ path: 'l', content: '', link: 'y' }))
})

test('an empty directory counts', async () => {
  const directory = make([A])
  const before = (await treeDigest(directory)).digest
  mkdirSync(join(directory, 'uploads'))
  expect((await treeDigest(directory)).digest).not.toBe(before)
})

test('no two different trees of names and contents have one digest', async () => {
  const node = fc.record({ path: fc.stringMatching(/^[ab\n]{1,3}(?:\/[ab]{1,2})?$/), content: fc.constantFrom('', 'a', 'b', 'a\0b') })
  const nodes = fc.uniqueArray(node, { maxLength: 4, selector: ({ path }) => path.split('/')[0] })
  await fc.assert(
    fc.asyncProperty(nodes, nodes, async (left, right) => {
      const canonical = (list: readonly Node[]) => JSON.stringify([...list].map(({ path, content }) => [path, content]).sort())
      const same = canonical(left) === canonical(right)
      expect((await digestOf(...left)) === (await digestOf(...right))).toBe(same)
    }),
    { numRuns: 60 },
  )
})

test('a copy has the same digest, shares no file with its origin and keeps what stands there when told so', async () => {
  const origin = make([A, B, { path: 'run', content: '#!', executable: true }, { path: 'l', content: '', link: 'a.txt' }])
  const copy = join(root, 'copy')
  expect(await copyTree(origin, copy)).toBe(4)
  writeFileSync(join(origin, 'a.txt'), 'ONE')
  expect((await treeDigest(copy)).digest).toBe(
    await digestOf(A, B, { path: 'run', content: '#!', executable: true }, { path: 'l', content: '', link: 'a.txt' }),
  )
  await expect(copyTree(origin, copy)).rejects.toThrow('EEXIST')
  expect(await copyTree(origin, copy, { keepExisting: true })).toBe(0)
  const source = make([{ path: 'sub', content: 'a file here' }])
  expect(await copyTree(origin, source, { keepExisting: true })).toBe(3)
})

test('a copy never goes through a link that stands at the target', async () => {
  const outside = make([])
  const target = make([{ path: 'sub', content: '', link: outside }])
  await copyTree(make([B]), target, { keepExisting: true })
  expect(await walkTree(outside)).toEqual([])
})

const leaving = async (...links: [string, string][]) => {
  const nodes = links.map(([path, link]) => ({ path, content: '', link }))
  return (await findLeavingLink(await walkTree(make(nodes))))?.path ?? null
}

test.each([
  ['to a neighbour', [['a', 'b']], null],
  ['up and down inside', [['x/a', '../y/b']], null],
  ['absolute', [['a', '/etc/passwd']], 'a'],
  ['out of the root', [['a', '..']], 'a'],
  ['out from below', [['x/y/a', '../../../z']], 'x/y/a'],
  [
    'out through another link',
    [
      ['x', '.'],
      ['y', 'x/..'],
    ],
    'y',
  ],
  [
    'out through two others',
    [
      ['d/x', '..'],
      ['y', 'd/x/..'],
    ],
    'y',
  ],
  [
    'a loop',
    [
      ['a', 'b'],
      ['b', 'a'],
    ],
    null,
  ],
] as const)('I9: a link %s', async (_, links, expected) => {
  expect(await leaving(...(links as unknown as [string, string][]))).toBe(expected)
})

test('I9: the judgement about links agrees with the kernel', async () => {
  const target = fc.array(fc.constantFrom('..', '.', 'a', 'b', 'c', 'd'), { minLength: 1, maxLength: 4 }).map((names) => names.join('/'))
  const path = fc.constantFrom('a', 'b', 'd/a', 'd/b', 'd/e/a', 'd/e/b')
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.tuple(path, target), { minLength: 1, maxLength: 4, selector: ([name]) => name }), async (links) => {
      const directory = make(links.map(([name, link]) => ({ path: name, content: '', link })))
      const leaves = links.some(([name]) => {
        try {
          return !`${realpathSync(join(directory, name))}/`.startsWith(`${directory}/`)
        } catch {
          return false
        }
      })
      // The kernel can't judge what is missing on the way, so only "the kernel arrived outside" must be found.
      if (leaves) expect(await findLeavingLink(await walkTree(directory))).not.toBeNull()
    }),
    { numRuns: 300 },
  )
})
