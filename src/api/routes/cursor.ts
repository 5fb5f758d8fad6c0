import { ShiplockError } from '../../core/errors.ts'

/** Cursors are opaque to clients: base64url of a key. */
export function encodeCursor(key: string | number): string {
  return Buffer.from(String(key)).toString('base64url')
}

export function decodeCursor(cursor: string | undefined): string | null {
  return cursor === undefined ? null : Buffer.from(cursor, 'base64url').toString('utf8')
}

const NUMBER_MAX = 2_147_483_647

export function decodeNumberCursor(cursor: string | undefined): number | null {
  const key = decodeCursor(cursor)
  if (key === null) return null
  const number = Number(key)
  if (!/^\d{1,10}$/.test(key) || number > NUMBER_MAX) throw new ShiplockError('INPUT_INVALID', 'query.cursor: is not a cursor of this list')
  return number
}

/** Cuts a list that was read with one item too many: whether there is more is known without a second question. */
export function pageOf<Row, Item>(
  rows: readonly Row[],
  limit: number,
  view: (row: Row) => Item,
  keyOf: (row: Row) => string | number,
): { items: Item[]; next: string | null } {
  const shown = rows.slice(0, limit)
  const last = shown.at(-1)
  return { items: shown.map(view), next: rows.length > limit && last !== undefined ? encodeCursor(keyOf(last)) : null }
}
