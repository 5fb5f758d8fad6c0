import { closeSync, existsSync, openSync, readFileSync, statSync, writeSync } from 'node:fs'
import { readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { bootId, isAlive, type ProcessIdentity } from '../../core/process-identity.ts'
import { removeTree } from '../../core/remove-tree.ts'

/** Who runs a launch. `unwritten`: a supervisor has claimed it in this moment and not yet said who it is (or died just then). */
export type Claim =
  | { readonly kind: 'none' }
  | { readonly kind: 'canceled' }
  | { readonly kind: 'unwritten' }
  | { readonly kind: 'supervisor'; readonly identity: ProcessIdentity; readonly alive: boolean; readonly startedAt: string }

export type StartReport =
  | { readonly kind: 'none' }
  | { readonly kind: 'started'; readonly initFailures: readonly { readonly number: number; readonly exitCode: number }[] }
  | { readonly kind: 'init-failed'; readonly number: number; readonly code: number }

/**
 * The files through which a supervisor and servers, living and dead, agree about one instance or task.
 * `launch` names the wanted launch; `run.<launch>` is its claim (made exclusively, by a supervisor or by who cancels it);
 * `started.<launch>` and `exit.<launch>` are what became of it. A claim is for ever: a launch runs at most once.
 */
export class RunDirectory {
  readonly path: string

  constructor(path: string) {
    this.path = path
  }

  get log(): string {
    return join(this.path, 'log')
  }

  /** Makes `launch` the wanted one, and forgets the files of earlier ones. Call only when none of those can run any more. */
  async want(launch: string): Promise<void> {
    for (const name of await readdir(this.path)) {
      if (/^(run|started|exit|over-disk)\./.test(name)) await rm(join(this.path, name), { force: true })
    }
    await writeFile(join(this.path, 'launch'), `${launch}\n`, { mode: 0o600 })
  }

  /** True when the launch had no claim and now never will run. */
  cancel(launch: string): boolean {
    try {
      const file = openSync(join(this.path, `run.${launch}`), 'wx', 0o600)
      writeSync(file, '0 0\n')
      closeSync(file)
      return true
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code
      if (code === 'EEXIST') return false
      if (code === 'ENOENT') return true
      throw error
    }
  }

  /** `launchBoot` is the boot in which it was launched: pids of another boot mean nothing. */
  claim(launch: string, launchBoot: string): Claim {
    const file = join(this.path, `run.${launch}`)
    const text = readOrNull(file)
    if (text === null) return { kind: 'none' }
    const [, pid, startTicks] = /^(\d+) (\d+)\n/.exec(text) ?? []
    if (pid === undefined || startTicks === undefined) return launchBoot === bootId() ? { kind: 'unwritten' } : { kind: 'canceled' }
    if (pid === '0') return { kind: 'canceled' }
    const identity = { pid: Number(pid), startTicks, bootId: launchBoot }
    return { kind: 'supervisor', identity, alive: isAlive(identity), startedAt: statSync(file).mtime.toISOString() }
  }

  /** Whether the wanted launch runs now; cheap. */
  isClaimedByLiving(): boolean {
    const launch = readOrNull(join(this.path, 'launch'))?.trim()
    if (launch === undefined || launch === '') return false
    const claim = this.claim(launch, bootId())
    return claim.kind === 'unwritten' || (claim.kind === 'supervisor' && claim.alive)
  }

  startReport(launch: string): StartReport {
    const text = readOrNull(join(this.path, `started.${launch}`)) ?? ''
    if (/^started\n/m.test(text)) {
      const passedOver = [...text.matchAll(/^passed-over (\d+) (\d+)$/gm)]
      return { kind: 'started', initFailures: passedOver.map(([, number, code]) => ({ number: Number(number), exitCode: Number(code) })) }
    }
    const [, number, code] = /^init (\d+) (\d+)\n/m.exec(text) ?? []
    return number === undefined ? { kind: 'none' } : { kind: 'init-failed', number: Number(number), code: Number(code) }
  }

  /** What the supervisor recorded; null when it recorded nothing (it was killed too, or the host went down). */
  exit(launch: string): { readonly code: number; readonly at: string } | null {
    const file = join(this.path, `exit.${launch}`)
    const [, code] = /^(\d+)\n/.exec(readOrNull(file) ?? '') ?? []
    return code === undefined ? null : { code: Number(code), at: statSync(file).mtime.toISOString() }
  }

  /** Says why a launch is ended for what it wrote; before it is, so that its end is never taken for another. */
  async markOverDisk(launch: string, reason: string): Promise<void> {
    await writeFile(join(this.path, `over-disk.${launch}`), reason, { mode: 0o600 })
  }

  overDisk(launch: string): string | null {
    return readOrNull(join(this.path, `over-disk.${launch}`))
  }

  /** Gives back what the run wrote. A name that is in use no more is all that has to go while somebody waits. */
  async dropWritten(): Promise<void> {
    for (const name of ['root', 'home']) {
      const gone = join(this.path, `${name}.gone`)
      await removeTree(gone)
      await rename(join(this.path, name), gone).catch((error: NodeJS.ErrnoException) => {
        if (error.code !== 'ENOENT') throw error
      })
      await removeTree(gone)
    }
  }

  exists(): boolean {
    return existsSync(this.path)
  }
}

function readOrNull(file: string): string | null {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return null
  }
}
