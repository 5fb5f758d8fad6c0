import { stripVTControlCharacters } from 'node:util'

const GAP = '  '
/** Where the text of a last column goes that has too little room beside the others. */
const BELOW = '    '
/** Narrower than this a text is hard to read. */
const TEXT_WIDTH_MIN = 28

/**
 * Columns as wide as their widest cell, without frames: readable by people, `cut` and `awk` alike. With `columns`, the width of a terminal,
 * the last column is text that is wrapped to stay within it, beside the others or below them.
 */
export function table(
  headers: readonly string[],
  rows: readonly (readonly string[])[],
  style: (header: string) => string,
  columns = Number.POSITIVE_INFINITY,
): string[] {
  const widths = headers.map((header, column) => Math.max(header.length, ...rows.map((row) => visibleLength(row[column] ?? ''))))
  const before = widths.slice(0, -1).reduce((sum, width) => sum + width + GAP.length, 0)
  const isBelow = columns - before < Math.min(TEXT_WIDTH_MIN, widths.at(-1) ?? 0)
  const line = (cells: readonly string[]) => {
    const last = cells.length - 1
    const start = cells.slice(0, last).map((cell, column) => cell + ' '.repeat((widths[column] ?? 0) - visibleLength(cell)) + GAP)
    const [first = '', ...more] = wrapped(cells[last] ?? '', columns - (isBelow ? BELOW.length : before))
    if (!isBelow) return [`${start.join('')}${first}`, ...more.map((part) => ' '.repeat(before) + part)]
    return [start.join(''), ...(first === '' ? [] : [first, ...more].map((part) => BELOW + part))]
  }
  // A header has no text to wrap, and below there is nothing to head.
  const head = line(isBelow ? [...headers.slice(0, -1), ''] : headers).join('')
  return [style(head.trimEnd()), ...rows.flatMap((row) => line(row).map((part) => part.trimEnd()))]
}

/** Lines of a text, broken at spaces where there are any. One with colours is left to the terminal. */
export function wrapped(text: string, width: number): string[] {
  if (text.length <= width || visibleLength(text) !== text.length) return [text]
  const lines: string[] = []
  let rest = text
  while (rest.length > width) {
    const at = rest.lastIndexOf(' ', width)
    const end = at <= 0 ? width : at
    lines.push(rest.slice(0, end))
    rest = rest.slice(end).trimStart()
  }
  return [...lines, rest]
}

function visibleLength(text: string): number {
  return stripVTControlCharacters(text).length
}
