import { randomBytes } from 'node:crypto'
import { access, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../core/atomic-file.ts'

const TOKEN_FILE = 'traefik-token'
/** Stands beside the token for as long as a Traefik that was set up without it has not shown it. */
const OPEN_FILE = 'traefik-token.not-shown-yet'

export interface TraefikToken {
  readonly token: string
  readonly untilShown: { shown(): void } | null
}

/**
 * The token that Traefik shows when it asks. Drawn once per data directory; its owner puts it into Traefik's configuration. A directory whose edge
 * has served before there was one, on loopback, goes on answering without it until it is shown: an upgrade must not take Traefik's hosts away.
 */
export async function openTraefikToken(data: string, isLoopback: boolean): Promise<TraefikToken> {
  const path = join(data, TOKEN_FILE)
  const open = join(data, OPEN_FILE)
  const present = (await readFile(path, 'utf8').catch(() => '')).trim()
  const isThere = /^[0-9a-f]{64}$/.test(present)
  const token = isThere ? present : randomBytes(32).toString('hex')
  if (!isThere) {
    // First, so that a crash between the two leaves no server that refuses the Traefik it had.
    if (await exists(join(data, 'edge', 'table.json'))) await writeFileAtomic(open, '')
    await writeFileAtomic(path, `${token}\n`)
  }
  const isOpen = isLoopback && (await exists(open))
  return { token, untilShown: isOpen ? { shown: () => void rm(open, { force: true }).catch(() => {}) } : null }
}

const exists = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  )
