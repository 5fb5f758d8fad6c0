import { createHash } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { syncDirectory } from '../../core/atomic-file.ts'
import { EMPTY_LEDGER, type Ledger, type RouteRecord, type Tombstone } from '../route-ledger.ts'

export interface RestoredLedger {
  readonly ledger: Ledger
  /** What was wrong with a file that was passed over; null when all was well. */
  readonly warning: string | null
}

interface Stored {
  readonly format: 1
  readonly version: number
  readonly routes: readonly RouteRecord[]
  readonly tombstones: readonly Tombstone[]
}

/**
 * The table on disk (DESIGN.md §9.8). First line: sha256 of the rest. Written to a temporary file, synced, then the present file
 * becomes the previous one and the new one takes its name; the directory is synced last. A crash at any point leaves one whole file.
 */
export class TableFile {
  readonly #directory: string
  readonly #current: string
  readonly #previous: string

  constructor(directory: string) {
    this.#directory = directory
    this.#current = join(directory, 'table.json')
    this.#previous = join(directory, 'table.previous.json')
  }

  async write(ledger: Ledger): Promise<void> {
    const stored: Stored = {
      format: 1,
      version: ledger.version,
      routes: [...ledger.routes.values()],
      tombstones: [...ledger.tombstones.values()],
    }
    const body = JSON.stringify(stored)
    const temporary = `${this.#current}.tmp`
    // Only one writer exists (the owner of the lock), so a file that a crash left under this name is its own.
    const file = await open(temporary, 'w', 0o600)
    try {
      await file.writeFile(`${checksum(body)}\n${body}`)
      await file.datasync()
    } finally {
      await file.close()
    }
    await rename(this.#current, this.#previous).catch(unlessMissing)
    await rename(temporary, this.#current)
    await syncDirectory(this.#directory)
  }

  async restore(): Promise<RestoredLedger> {
    const current = await readTable(this.#current)
    if (current.ledger !== null) return { ledger: current.ledger, warning: null }
    const previous = await readTable(this.#previous)
    if (previous.ledger !== null) {
      const { ledger } = previous
      // A crash between the two renames leaves only the previous file, which then is the last one that was acknowledged.
      const warning = current.problem === null ? null : `${current.problem}; the previous table (version ${ledger.version}) is used`
      return { ledger, warning }
    }
    const problems = [current.problem, previous.problem].filter((problem) => problem !== null)
    return {
      ledger: EMPTY_LEDGER,
      warning: problems.length === 0 ? null : `${problems.join('; ')}; starting without routes until they are set again`,
    }
  }
}

async function readTable(path: string): Promise<{ readonly ledger: Ledger | null; readonly problem: string | null }> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    return { ledger: null, problem: code === 'ENOENT' ? null : `${path} can't be read (${code})` }
  }
  const lineEnd = text.indexOf('\n')
  const body = text.slice(lineEnd + 1)
  if (lineEnd !== 64 || text.slice(0, lineEnd) !== checksum(body)) return { ledger: null, problem: `${path} is damaged (checksum)` }
  const stored = JSON.parse(body) as Stored
  if (stored.format !== 1) return { ledger: null, problem: `${path} has the unknown format ${stored.format}` }
  return {
    ledger: {
      version: stored.version,
      routes: new Map(stored.routes.map((route) => [route.id, route])),
      tombstones: new Map(stored.tombstones.map((stone) => [stone.id, stone])),
    },
    problem: null,
  }
}

function checksum(body: string): string {
  return createHash('sha256').update(body).digest('hex')
}

function unlessMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error
}
