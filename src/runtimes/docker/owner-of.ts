import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'

/** Drawn once: an engine may be shared by servers that must not touch each other's containers. */
export async function ownerOf(stateDirectory: string): Promise<string> {
  const file = join(stateDirectory, 'owner')
  const present = (await readFile(file, 'utf8').catch(() => '')).trim()
  if (/^[0-9a-f]{12}$/.test(present)) return present
  const owner = randomBytes(6).toString('hex')
  await writeFileAtomic(file, `${owner}\n`)
  return owner
}
