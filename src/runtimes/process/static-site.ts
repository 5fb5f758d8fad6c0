import { randomBytes } from 'node:crypto'
import { cp, mkdir, rename, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { SiteConfig } from '../../domain/service-config.ts'
import type { Sandbox, SandboxSpec } from '../../sandbox/sandbox.ts'
import { MOUNT_POINT } from './launcher.ts'

const INSIDE = '/run/shiplock/static-server'
/** What the server imports, and what that imports. */
const PACKAGES = ['mrmime']

/**
 * Serves a directory of the artifact. The server's program is copied into the state directory, since its installation may lie where a
 * tenant's user can't go (a clone in /root), and shown read only.
 */
export class StaticSite {
  readonly #directory: string
  readonly #file: string
  #ready: Promise<void> | null = null

  /** `file` = compiled static-server/main.js. */
  constructor(directory: string, file: string | null) {
    this.#directory = directory
    this.#file = file ?? fileURLToPath(new URL('../../static-server/main.js', import.meta.url))
  }

  async command(
    sandbox: Sandbox,
    root: string,
    site?: SiteConfig,
  ): Promise<{ readonly argv: readonly string[]; readonly mounts: SandboxSpec['mounts'] }> {
    this.#ready ??= this.#copy()
    await this.#ready
    const isConfined = sandbox.description.filesystem
    const program = join(isConfined ? INSIDE : this.#directory, basename(this.#file))
    // Without a mount namespace the working directory is the artifact itself.
    const directory = isConfined ? join(MOUNT_POINT, root) : join('.', root)
    const mounts = isConfined ? [{ source: this.#directory, target: INSIDE, writable: false }] : []
    return { argv: [process.execPath, program, directory, ...(site === undefined ? [] : [JSON.stringify(site)])], mounts }
  }

  async #copy(): Promise<void> {
    const partial = `${this.#directory}.${randomBytes(4).toString('hex')}`
    await mkdir(partial, { recursive: true, mode: 0o755 })
    await cp(dirname(this.#file), partial, { recursive: true })
    // The copy lies outside of our package, which says that .js files are modules.
    await writeFile(join(partial, 'package.json'), '{"type":"module"}\n')
    const require = createRequire(this.#file)
    for (const name of PACKAGES) {
      const source = packageDirectory(require, name)
      if (source !== null) await cp(source, join(partial, 'node_modules', name), { recursive: true })
    }
    await rm(this.#directory, { recursive: true, force: true })
    await rename(partial, this.#directory)
  }
}

/** Null when it is not installed beside the program, as for one that was bundled into a single file. */
function packageDirectory(require: NodeJS.Require, name: string): string | null {
  try {
    const main = require.resolve(name)
    const marker = join('node_modules', name)
    return main.slice(0, main.lastIndexOf(marker) + marker.length)
  } catch {
    return null
  }
}
