import { createHash, randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DATA_FILES } from '../contract/data-files.ts'
import { writeFileAtomic } from '../core/atomic-file.ts'
import { randomId } from '../core/random-id.ts'
import type { Database } from '../store/database.ts'
import { insertAdminToken } from '../store/sql/tokens.ts'

const TOKEN = /^slk_[A-Za-z0-9_-]{43}$/

/** 256 random bits. */
export function drawToken(): string {
  return `slk_${randomBytes(32).toString('base64url')}`
}

/** Whether it has the form of one: what has not costs no look at the database. */
export function isToken(text: string): boolean {
  return TOKEN.test(text)
}

export function hashToken(token: string): Buffer {
  return createHash('sha256').update(token).digest()
}

/**
 * Makes the admin token at first start: a 0600 file in the data directory, its sha256 in the database. An existing file is kept, and
 * made known to a database that has not seen it (a new or shared one).
 */
export async function ensureAdminToken(
  database: Database,
  dataDirectory: string,
): Promise<{ readonly path: string; readonly isNew: boolean }> {
  const path = join(dataDirectory, DATA_FILES.adminToken)
  const present = (await readFile(path, 'utf8').catch(() => '')).trim()
  const isNew = !isToken(present)
  const token = isNew ? drawToken() : present
  if (isNew) await writeFileAtomic(path, `${token}\n`, 0o600)
  await insertAdminToken(database, { id: randomId('tok'), name: 'admin', hash: hashToken(token) })
  return { path, isNew }
}
