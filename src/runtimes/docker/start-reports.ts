import { createHash } from 'node:crypto'
import { appendFile, readFile, rm } from 'node:fs/promises'
import type { InitFailure } from '../runtime.ts'

/** What a container's first shell has said about its start so far. */
export type StartReport =
  | { readonly kind: 'none' }
  | { readonly kind: 'started'; readonly initFailures: readonly InitFailure[] }
  | { readonly kind: 'init-failed'; readonly number: number; readonly code: number }

/** Stands before the lines that are reports, not output. An app that prints it deceives nobody but its own deployment. */
export function reportTag(container: string): string {
  return `shiplock-${createHash('sha256').update(container).digest('hex').slice(0, 24)} `
}

/** Lines that were taken out of a log, kept until the next start. */
export class StartReports {
  readonly #file: string

  constructor(logFile: string) {
    this.#file = `${logFile}.reports`
  }

  async add(line: string): Promise<void> {
    await appendFile(this.#file, `${line.trim()}\n`, { mode: 0o600 })
  }

  async clear(): Promise<void> {
    await rm(this.#file, { force: true })
  }

  async read(): Promise<StartReport> {
    const text = await readFile(this.#file, 'utf8').catch(() => '')
    const [, number, code] = /^init (\d+) (\d+)$/m.exec(text) ?? []
    if (number !== undefined) return { kind: 'init-failed', number: Number(number), code: Number(code) }
    if (!/^started$/m.test(text)) return { kind: 'none' }
    // A line may have come twice, over a restart of the server.
    const failures = new Map([...text.matchAll(/^passed-over (\d+) (\d+)$/gm)].map(([, at, exit]) => [Number(at), Number(exit)]))
    return { kind: 'started', initFailures: [...failures].map(([at, exitCode]) => ({ number: at, exitCode })) }
  }
}
