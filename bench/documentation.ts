import { readFileSync, writeFileSync } from 'node:fs'
import { cellsOf, type MachineFacts, type Section } from './report.ts'

const FILE = 'docs/benchmarks.md'
const BEGIN = '<!-- figures -->'
const END = '<!-- /figures -->'

/**
 * Puts the figures of a run into the documentation, between its marks. What a run of only some benchmarks did not measure stays, and those
 * that it did say when and where.
 */
export function writeDocumentation(machine: MachineFacts, at: string, sections: readonly Section[], isWhole: boolean): void {
  const text = readFileSync(FILE, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const [figures, after] = rest?.split(END) ?? []
  if (before === undefined || figures === undefined || after === undefined) throw new Error(`${FILE} has no place for figures`)
  const where = whereabouts(machine, at)
  const lines = isWhole
    ? [where, ...sections.flatMap((section) => sectionLines(section, null))].join('\n')
    : merged(figures, sections, where)
  writeFileSync(FILE, `${before}${BEGIN}\n\n${lines}\n\n${END}${after}`)
}

function merged(figures: string, sections: readonly Section[], where: string): string {
  const [head = '', ...known] = figures.trim().split(/\n(?=### )/)
  const fresh = new Map(sections.map((section) => [section.name, sectionLines(section, where).join('\n').trim()]))
  const kept = known.map((text) => {
    const name = /^### (.*)/.exec(text)?.[1] ?? ''
    const replacement = fresh.get(name)
    fresh.delete(name)
    return replacement ?? text.trim()
  })
  return [head.trim(), ...kept, ...fresh.values()].join('\n\n')
}

function whereabouts({ cores, cpu, memoryGiB, kernel, node, loadAtStart }: MachineFacts, at: string): string {
  const where = `${at.slice(0, 10)}, ${cores} cores (${cpu}), ${memoryGiB} GiB, Linux ${kernel}, Node ${node.slice(1)}`
  return `${where}; load average when it began: ${loadAtStart}.`
}

/** `where`: when it is not the machine and time of all. */
function sectionLines(section: Section, where: string | null): string[] {
  const head = [
    '',
    `### ${section.name}`,
    '',
    `${section.title[0]?.toUpperCase()}${section.title.slice(1)}.`,
    '',
    ...(where === null ? [] : [where, '']),
  ]
  if (!('rows' in section)) return [...head, `Skipped: ${section.skipped.split('\n')[0]}`]
  const rows = section.rows.map((row) => `| ${cellsOf(row).join(' | ')} |`)
  const notes = section.rows.flatMap(({ name, note }) => (note === undefined ? [] : [`- ${name}: ${note}`]))
  const table = ['| | Shiplock | beside it | ratio | budget | |', '| --- | ---: | ---: | ---: | ---: | --- |', ...rows]
  return [...head, ...table, ...(notes.length === 0 ? [] : ['', ...notes])]
}
