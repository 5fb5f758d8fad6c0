import pg from 'pg'

type Parse = (text: string) => unknown

/** https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat */
const OID = { int8: 20, timestamptz: 1184, int8Array: 1016, timestamptzArray: 1185 } as const

const parseDate = pg.types.getTypeParser(OID.timestamptz, 'text') as Parse

function parseTimestamp(text: string): string {
  const parsed = parseDate(text)
  return parsed instanceof Date ? parsed.toISOString() : text
}

/** Lossless: what a double can't hold stays a string. */
function parseBigint(text: string): number | string {
  const value = Number(text)
  return Number.isSafeInteger(value) ? value : text
}

/** Elements of these types never hold quotes or commas that matter: `{1,NULL,"2026-01-01 00:00:00+00"}`. */
function parseArray(parse: Parse): Parse {
  return (text) => {
    const body = text.slice(1, -1)
    if (body === '') return []
    return body.split(',').map((element) => (element === 'NULL' ? null : parse(element.replaceAll('"', ''))))
  }
}

const PARSERS: Readonly<Record<number, Parse>> = {
  [OID.int8]: parseBigint,
  [OID.timestamptz]: parseTimestamp,
  [OID.int8Array]: parseArray(parseBigint),
  [OID.timestamptzArray]: parseArray(parseTimestamp),
}

/** Per connection, so that nothing global in the driver is changed. */
export const postgresTypes: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text' | 'binary') =>
    (format ?? 'text') === 'text' ? (PARSERS[oid] ?? pg.types.getTypeParser(oid, 'text')) : pg.types.getTypeParser(oid, 'binary')) as never,
}
