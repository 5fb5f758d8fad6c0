import { readFileSync, writeFileSync } from 'node:fs'
import { cellsOf, type MachineFacts, type Section } from './report.ts'

const FILE = 'docs/benchmarks.md'
const BEGIN = '<!-- figures -->'
const END = '<!-- /figures -->'

/** Puts the figures of a run into the documentation, between its marks. */
export function writeDocumentation(machine: MachineFacts, at: string, sections: readonly Section[]): void {
  const text = readFileSync(FILE, 'utf8')
  const [before, rest] = text.split(BEGIN)
  const after = rest?.split(END)[1]
  if (before === undefined || after === undefined) throw new Error(`${FILE} has no place for figures`)
  writeFileSync(FILE, `${before}${BEGIN}\n\n${figures(machine, at, sections).join('\n')}\n\n${END}${after}`)
}

function figures(machine: MachineFacts, at: string, sections: readonly Section[]): string[] {
  const { cores, cpu, memoryGiB, kernel, node, loadAtStart } = machine
  const where = `${at.slice(0, 10)}, ${cores} cores (${cpu}), ${memoryGiB} GiB, Linux ${kernel}, Node ${node.slice(1)}`
  return [`${where}; load average when it began: ${loadAtStart}.`, ...sections.flatMap(sectionLines)]
}

function sectionLines(section: Section): string[] {
  const head = ['', `### ${section.name}`, '', `${section.title[0]?.toUpperCase()}${section.title.slice(1)}.`, '']
  if (!('rows' in section)) return [...head, `Skipped: ${section.skipped.split('\n')[0]}`]
  const rows = section.rows.map((row) => `| ${cellsOf(row).join(' | ')} |`)
  const notes = section.rows.flatMap(({ name, note }) => (note === undefined ? [] : [`- ${name}: ${note}`]))
  const table = ['| | Shiplock | beside it | ratio | budget | |', '| --- | ---: | ---: | ---: | ---: | --- |', ...rows]
  return [...head, ...table, ...(notes.length === 0 ? [] : ['', ...notes])]
}
