import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { ForeignPrograms } from '../../src/core/foreign-programs.ts'
import { createHostGuard } from '../../src/core/host-guard.ts'
import { silentLogger } from '../../src/core/log.ts'
import { createConfinedPrograms } from '../../src/sandbox/confined-programs.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import { createGitSource, type GitSourceOptions } from '../../src/sources/git.ts'
import type { SourceFetcher } from '../../src/sources/source.ts'
import { memoryOf } from './memory-directories.ts'

/** Calls hosts wherever they are. */
export const anyHost = createHostGuard({ reach: 'any', allowed: [] })

/** What confines git on this host, for a state directory of its own. */
export async function hostPrograms(root: string, kind: 'auto' | 'none' = 'auto'): Promise<ForeignPrograms> {
  const stateDirectory = join(root, 'sandbox')
  mkdirSync(stateDirectory, { recursive: true })
  return createConfinedPrograms(await createSandbox({ stateDirectory, logger: silentLogger, kind }))
}

/** A git source confined as the server confines it, which takes repositories below `root` and calls every host. */
export async function hostGitSource(root: string, options: Partial<GitSourceOptions> = {}): Promise<SourceFetcher> {
  return createGitSource({
    programs: options.programs ?? (await hostPrograms(root)),
    hosts: anyHost,
    local: { directories: [root], forbidden: [] },
    memory: await memoryOf(root),
    logger: silentLogger,
    ...options,
  })
}
