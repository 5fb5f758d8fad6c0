import type { Queryable } from '../database.ts'

export interface SealingKey {
  readonly id: Uint8Array
  readonly state: 'active' | 'retiring' | 'retired'
  /** The server that rotates it. */
  readonly serverId: string | null
  readonly changedAt: string
}

export interface SealedColumn {
  readonly table: string
  readonly column: string
}

/** A sealed value and where it stands; the place is good until somebody else changes the row. */
export interface SealedValue {
  readonly place: string
  readonly sealed: Uint8Array
}

export async function listSealingKeys(db: Queryable): Promise<SealingKey[]> {
  return db.query<SealingKey>(
    'select id, state, server_id as "serverId", changed_at as "changedAt" from sealing_keys order by changed_at, id',
  )
}

/** Makes a key known; one that is known stays as it is. */
export async function registerSealingKey(db: Queryable, id: Uint8Array): Promise<void> {
  await db.query(`insert into sealing_keys (id, state) values ($1, 'active') on conflict (id) do nothing`, [id])
}

/**
 * The decision to rotate: from here on the server that made it goes on until the key is retired. False when one is retiring already;
 * a decision that nobody has carried out for a minute may be made again, by another server too.
 */
export async function beginRetiring(tx: Queryable, ids: readonly Uint8Array[], serverId: string): Promise<boolean> {
  await tx.query('lock table sealing_keys in share row exclusive mode')
  const [busy] = await tx.query(
    `select 1 from sealing_keys where state = 'retiring' and (not (id = any($1::bytea[])) or changed_at > now() - interval '1 minute')`,
    [ids],
  )
  if (busy !== undefined) return false
  for (const id of ids) {
    await tx.query(
      `insert into sealing_keys (id, state, server_id) values ($1, 'retiring', $2)
       on conflict (id) do update set state = 'retiring', server_id = excluded.server_id, changed_at = now()`,
      [id, serverId],
    )
  }
  return true
}

export async function listSealedColumns(db: Queryable): Promise<SealedColumn[]> {
  return db.query<SealedColumn>('select "table", "column" from sealed_columns order by 1, 2')
}

/** Values of a column that were not sealed with that key, after a place. */
export async function readSealedOtherwise(
  db: Queryable,
  at: SealedColumn,
  options: { readonly key: Uint8Array; readonly after: string; readonly limit: number },
): Promise<SealedValue[]> {
  const { table, column } = quoted(at)
  return db.query<SealedValue>(
    `select ctid::text as place, ${column} as sealed from ${table}
      where ${column} is not null and substring(${column} from 1 for 9) <> '\\x02'::bytea || $1 and ctid > $2::tid
      order by ctid limit $3`,
    [options.key, options.after, options.limit],
  )
}

export async function countSealedOtherwise(db: Queryable, at: SealedColumn, key: Uint8Array): Promise<number> {
  const { table, column } = quoted(at)
  const [row] = await db.query<{ count: number }>(
    `select count(*)::int as count from ${table} where ${column} is not null and substring(${column} from 1 for 9) <> '\\x02'::bytea || $1`,
    [key],
  )
  return row?.count ?? 0
}

/** Replaces a value unless somebody changed it meanwhile. */
export async function replaceSealed(tx: Queryable, at: SealedColumn, old: SealedValue, sealed: Uint8Array): Promise<void> {
  const { table, column } = quoted(at)
  await tx.query(`update ${table} set ${column} = $3 where ctid = $1::tid and ${column} = $2`, [old.place, old.sealed, sealed])
}

/** How many values are still sealed with a key; 0 = there are none, and from now on there can't be. */
export async function retireSealingKey(tx: Queryable, id: Uint8Array): Promise<number> {
  await tx.query(`set local lock_timeout = '3s'`)
  const [row] = await tx.query<{ left: number }>('select retire_sealing_key($1) as left', [id])
  return row?.left ?? 0
}

/** Names come from the catalog, never from outside; quoted all the same. */
function quoted({ table, column }: SealedColumn): SealedColumn {
  const quote = (name: string) => `"${name.replaceAll('"', '""')}"`
  return { table: quote(table), column: quote(column) }
}
