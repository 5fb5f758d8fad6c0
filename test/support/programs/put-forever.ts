import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createTreeStore } from '../../../src/artifacts/tree-store.ts'

/** Run as a program: stores one tree after the other and prints each digest once `put` has answered, until it is killed. */
const [directory = '', scratch = '', from = '0'] = process.argv.slice(2)
const store = createTreeStore({ directory })
for (let number = Number(from); ; number++) {
  const tree = join(scratch, `tree${number}`)
  mkdirSync(join(tree, 'sub'), { recursive: true })
  for (let file = 0; file < 40; file++) writeFileSync(join(tree, 'sub', `f${file}`), `${number} ${file}\n`.repeat(200))
  const { digest } = await store.put(tree)
  process.stdout.write(`${digest}\n`)
}
