import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { removeTree } from './remove-tree.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'shiplock-remove-'))
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

test('a tree of read-only and closed directories goes, whoever removes it', async () => {
  const tree = join(root, 'tree')
  for (let index = 0; index < 20; index++) {
    mkdirSync(join(tree, `d${index}`, 'sub'), { recursive: true })
    writeFileSync(join(tree, `d${index}`, 'sub', 'f'), 'x')
    chmodSync(join(tree, `d${index}`, 'sub'), index % 2 === 0 ? 0o555 : 0o000)
    chmodSync(join(tree, `d${index}`), 0o555)
  }
  chmodSync(tree, 0o555)
  await removeTree(tree)
  expect(existsSync(tree)).toBe(false)
})

test('a missing tree is success', async () => {
  await removeTree(join(root, 'missing'))
})

test('I9: a link is removed, what it points at stays as it was', async () => {
  const outside = join(root, 'outside')
  mkdirSync(outside)
  writeFileSync(join(outside, 'f'), 'x')
  chmodSync(outside, 0o500)
  mkdirSync(join(root, 'tree', 'closed'), { recursive: true })
  symlinkSync(outside, join(root, 'tree', 'closed', 'l'))
  chmodSync(join(root, 'tree', 'closed'), 0o555)
  await removeTree(join(root, 'tree'))
  expect(existsSync(join(outside, 'f'))).toBe(true)
})
