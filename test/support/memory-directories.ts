import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, realpathSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { MemoryDirectory } from '../../src/core/memory-directory.ts'

const PARENTS = ['/run', `/run/user/${process.getuid?.() ?? 0}`, '/dev/shm']

/** As a server on that directory would have it. */
export function memoryOf(dataDirectory: string): Promise<MemoryDirectory> {
  return MemoryDirectory.find({ dataDirectory, fallback: join(dataDirectory, 'private') })
}

/** Where servers of that data directory keep secrets in memory, as far as something stands there. Named as the product names it. */
export function memoryPathsOf(dataDirectory: string): readonly string[] {
  const path = existsSync(dataDirectory) ? realpathSync(dataDirectory) : dataDirectory
  const digest = createHash('sha256').update(path).digest('hex').slice(0, 12)
  return PARENTS.flatMap((parent) => names(parent).map((name) => join(parent, name))).filter((found) => found.endsWith(`-${digest}`))
}

/** Of data directories that are gone: tests that were killed could not clear up. */
export function removeLostMemory(): void {
  for (const parent of PARENTS) {
    for (const name of names(parent)) {
      const owner = read(join(parent, name, 'of')).trim()
      if (owner !== '' && !existsSync(owner)) rmSync(join(parent, name), { recursive: true, force: true })
    }
  }
}

function names(parent: string): readonly string[] {
  try {
    return readdirSync(parent).filter((name) => name.startsWith('shiplock-'))
  } catch {
    return []
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}
