import { readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import type { MemoryDirectory } from '../../core/memory-directory.ts'

const KIND = 'running'
/** Where servers before this one kept it, in the run's own directory on disk. */
const OLD_FILE = 'environment.json'

/**
 * The variables of running instances, for commands that run beside one later, under another server perhaps. In memory: gone when the
 * instance stops, and after a reboot together with it.
 */
export class KeptEnvironments {
  readonly #memory: MemoryDirectory

  constructor(memory: MemoryDirectory) {
    this.#memory = memory
  }

  async keep(name: string, env: Readonly<Record<string, string>>): Promise<void> {
    await this.#memory.write(join(KIND, name), JSON.stringify(env))
  }

  async of(name: string): Promise<Readonly<Record<string, string>>> {
    const text = await this.#memory.read(join(KIND, name))
    if (text !== null) return JSON.parse(text) as Record<string, string>
    // A session's directory is emptied when its user has logged out.
    throw new ShiplockError('CONFLICT', `the variables of ${name} are no longer in memory, so nothing can run beside it`, {
      hint: 'Restart the service: its instances then run with their variables, and commands beside them can too.',
      details: { name },
    })
  }

  /** `directory`: the run's own. */
  async forget(name: string, directory: string): Promise<void> {
    await this.#memory.remove(join(KIND, name))
    await rm(join(directory, OLD_FILE), { force: true })
  }

  /** Takes what an earlier version left on disk: into memory while it runs, away otherwise. */
  async adopt(name: string, directory: string, isRunning: boolean): Promise<void> {
    const old = join(directory, OLD_FILE)
    const text = await readFile(old, 'utf8').catch(() => null)
    if (text === null) return
    if (isRunning) await this.#memory.write(join(KIND, name), text)
    await rm(old, { force: true })
  }

  /** Forgets those of which nothing is known any more. */
  async sweep(isKnown: (name: string) => boolean): Promise<void> {
    for (const name of await this.#memory.list(KIND)) if (!isKnown(name)) await this.#memory.remove(join(KIND, name))
  }
}
