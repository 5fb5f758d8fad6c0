import { availableParallelism, cpus, loadavg, release, totalmem } from 'node:os'

export type Unit = 'ms' | 'µs' | 's' | 'MiB' | 'KiB' | '/s' | '×' | '%' | ''

/** One figure, with what was measured beside it in the same run. */
export interface Row {
  readonly name: string
  readonly value: number
  readonly unit: Unit
  /** The same thing without us, or with the others; the ratio is value / beside. */
  readonly beside?: { readonly what: string; readonly value: number }
  /** DESIGN.md §10; `of: 'ratio'` bounds the ratio. */
  readonly budget?: { readonly of?: 'value' | 'ratio'; readonly atMost?: number; readonly atLeast?: number }
  readonly note?: string
}

/** What a benchmark yields: rows, or why it could not run here. */
export type Section =
  | { readonly name: string; readonly title: string; readonly rows: readonly Row[]; readonly figures?: unknown }
  | { readonly name: string; readonly title: string; readonly skipped: string }

export interface MachineFacts {
  readonly cores: number
  readonly cpu: string
  readonly memoryGiB: number
  readonly kernel: string
  readonly node: string
  readonly loadAtStart: number
}

export function machineFacts(): MachineFacts {
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    memoryGiB: Math.round(totalmem() / 1024 ** 3),
    kernel: release(),
    node: process.version,
    loadAtStart: Number((loadavg()[0] ?? 0).toFixed(1)),
  }
}

export function ratioOf(row: Row): number | null {
  return row.beside === undefined || row.beside.value === 0 ? null : row.value / row.beside.value
}

/** Null = no budget; a ratio that could not be formed misses its budget. */
export function isWithin(row: Row): boolean | null {
  if (row.budget === undefined) return null
  const { of = 'value', atMost = Number.POSITIVE_INFINITY, atLeast = Number.NEGATIVE_INFINITY } = row.budget
  const judged = of === 'ratio' ? ratioOf(row) : row.value
  return judged !== null && judged <= atMost && judged >= atLeast
}

const HEAD = ['', 'Shiplock', 'beside it', 'ratio', 'budget', '']

/** Every section as lines of one table. */
export function tableOf(sections: readonly Section[]): string[] {
  const bodies = sections.map((section) => ('rows' in section ? section.rows.map(cellsOf) : []))
  const widths = HEAD.map((head, column) => Math.max(head.length, ...bodies.flat().map((cells) => cells[column]?.length ?? 0)))
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, column) => pad(cell, widths[column] ?? 0, column === 0))
      .join('  ')
      .trimEnd()
  return sections.flatMap((section, index) => [
    '',
    `${section.name}: ${section.title}`,
    ...('rows' in section ? [line(HEAD), ...(bodies[index] ?? []).map(line)] : [`skipped: ${section.skipped}`]),
    ...('rows' in section ? section.rows.flatMap((row) => (row.note === undefined ? [] : [`  ${row.name}: ${row.note}`])) : []),
  ])
}

function pad(text: string, width: number, isLeft: boolean): string {
  return isLeft ? text.padEnd(width) : text.padStart(width)
}

/** Name, ours, beside it, ratio, budget, verdict. */
export function cellsOf(row: Row): string[] {
  const { beside, budget } = row
  const ratio = ratioOf(row)
  const within = isWithin(row)
  return [
    row.name,
    `${number(row.value)} ${row.unit}`.trim(),
    beside === undefined ? '' : `${number(beside.value)} ${row.unit} ${beside.what}`,
    ratio === null ? '' : `${ratio.toFixed(2)} ×`,
    budget === undefined ? '' : budgetText(row),
    within === null ? '' : within ? 'kept' : 'MISSED',
  ]
}

function budgetText({ budget, unit }: Row): string {
  const shown = budget?.of === 'ratio' ? '×' : unit
  const sign = budget?.atMost !== undefined ? `≤ ${number(budget.atMost)}` : `≥ ${number(budget?.atLeast ?? 0)}`
  return `${sign} ${shown}`.trim()
}

function number(value: number): string {
  if (Number.isInteger(value) || Math.abs(value) >= 100) return value.toFixed(0)
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2)
}
