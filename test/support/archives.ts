import { gzipSync } from 'node:zlib'

export interface RawEntry {
  readonly name: string | Buffer
  /** As in the header: 0 file, 1 hard link, 2 symlink, 3 and 4 devices, 5 directory, 6 fifo, x pax, L long name. */
  readonly type?: string
  readonly content?: string | Buffer
  readonly linkname?: string
  readonly mode?: number
  /** Claims another size than the content has. */
  readonly size?: number
}

const BLOCK = 512

/** A tar archive written by hand, so that it can hold what no honest program would write. */
export function rawTar(entries: readonly RawEntry[]): Buffer {
  return Buffer.concat([...entries.map(entryBytes), Buffer.alloc(BLOCK * 2)])
}

export function rawTarGz(entries: readonly RawEntry[]): Buffer {
  return gzipSync(rawTar(entries))
}

function entryBytes(entry: RawEntry): Buffer {
  const content = Buffer.from(entry.content ?? '')
  const header = Buffer.alloc(BLOCK)
  Buffer.from(entry.name).copy(header, 0, 0, 100)
  const octal = (value: number, at: number, length: number) => header.write(`${value.toString(8).padStart(length - 1, '0')}\0`, at)
  octal(entry.mode ?? 0o644, 100, 8)
  octal(0, 108, 8)
  octal(0, 116, 8)
  octal(entry.size ?? content.length, 124, 12)
  octal(0, 136, 12)
  header.write('        ', 148)
  header.write(entry.type ?? '0', 156)
  header.write(entry.linkname ?? '', 157, 100)
  header.write('ustar\x0000', 257)
  header.write(
    `${[...header]
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  )
  const padding = Buffer.alloc((BLOCK - (content.length % BLOCK)) % BLOCK)
  return Buffer.concat([header, content, padding])
}

/** A pax header that overrides fields of the entry after it. */
export function paxHeader(fields: Readonly<Record<string, string>>): RawEntry {
  const records = Object.entries(fields).map(([key, value]) => {
    let length = 0
    let record = ''
    do {
      length = Buffer.byteLength(record) || Buffer.byteLength(` ${key}=${value}\n`) + 1
      record = `${length} ${key}=${value}\n`
    } while (Buffer.byteLength(record) !== length)
    return record
  })
  return { name: 'pax', type: 'x', content: records.join('') }
}
