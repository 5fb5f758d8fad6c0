import { stripVTControlCharacters } from 'node:util'

const GAP = '  '

/** Columns as wide as their widest cell, without frames: readable by people, `cut` and `awk` alike. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[], style: (header: string) => string): string[] {
  const widths = headers.map((header, column) => Math.max(header.length, ...rows.map((row) => visibleLength(row[column] ?? ''))))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => (column === cells.length - 1 ? cell : cell + ' '.repeat((widths[column] ?? 0) - visibleLength(cell))))
      .join(GAP)
      .trimEnd()
  return [style(line(headers)), ...rows.map(line)]
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}
