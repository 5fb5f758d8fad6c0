import { writeFileSync } from 'node:fs'
import { benchContainers } from './containers.ts'
import { benchDeploy } from './deploy.ts'
import { writeDocumentation } from './documentation.ts'
import { benchFanOut } from './fan-out.ts'
import { benchMemory } from './memory.ts'
import { benchProxies } from './proxies.ts'
import { benchQueue } from './queue.ts'
import { isWithin, machineFacts, type Section, tableOf } from './report.ts'
import { benchResume } from './resume.ts'
import { benchRollback } from './rollback.ts'
import { benchSwap } from './swap.ts'

/** `quick` asks for figures within seconds, good enough to see that everything works. */
type Benchmark = (isQuick: boolean) => Promise<Section>

const BENCHMARKS: Readonly<Record<string, Benchmark>> = {
  edge: (isQuick) => benchProxies(isQuick ? 1 : 4, isQuick ? 1 : 5),
  swap: (isQuick) => benchSwap(isQuick ? 100 : 1000),
  deploy: (isQuick) => benchDeploy(isQuick ? 3 : 9),
  containers: (isQuick) => benchContainers(isQuick ? 3 : 9, isQuick ? 1 : 2),
  rollback: (isQuick) => benchRollback(isQuick ? 2 : 5),
  queue: benchQueue,
  'fan-out': (isQuick) => benchFanOut(isQuick ? 100 : 1000, isQuick ? 100 : 300, 40),
  memory: (isQuick) => benchMemory(2, isQuick ? 1000 : 10_000, isQuick ? 2 : 5),
  resume: (isQuick) => benchResume(isQuick ? 1 : 3),
}

/** Called by scripts/bench.mjs. Prints a section as soon as it is there and the whole report as JSON at the end. */
export async function main(args: readonly string[]): Promise<number> {
  const names = args.filter((arg) => !arg.startsWith('--'))
  const unknown = names.filter((name) => !(name in BENCHMARKS))
  if (unknown.length > 0) {
    process.stderr.write(`no benchmark ${unknown.join(', ')}; there are: ${Object.keys(BENCHMARKS).join(', ')}\n`)
    return 2
  }
  const isQuick = args.includes('--quick')
  const facts = machineFacts()
  const write = (lines: readonly string[]) => process.stdout.write(`${lines.join('\n')}\n`)
  write([
    `${facts.cores} cores (${facts.cpu}), ${facts.memoryGiB} GiB, Linux ${facts.kernel}, Node ${facts.node}, load ${facts.loadAtStart}`,
  ])
  const sections: Section[] = []
  for (const [name, run] of Object.entries(BENCHMARKS)) {
    if (names.length > 0 && !names.includes(name)) continue
    const section = await run(isQuick).catch((error: Error): Section => ({ name, title: 'failed', skipped: error.stack ?? error.message }))
    sections.push(section)
    write(tableOf([section]))
  }
  const file = args.find((arg) => arg.startsWith('--json='))?.slice('--json='.length) ?? '.shiplock/bench.json'
  const at = new Date().toISOString()
  writeFileSync(file, `${JSON.stringify({ at, machine: facts, quick: isQuick, sections }, null, 2)}\n`)
  if (args.includes('--docs')) writeDocumentation(facts, at, sections, names.length === 0)
  const rows = sections.flatMap((section) => ('rows' in section ? section.rows : []))
  const judged = rows.filter((row) => isWithin(row) !== null)
  write(['', `${judged.filter(isWithin).length} of ${judged.length} budgets kept; figures in ${file}`])
  return sections.some((section) => 'skipped' in section && section.title === 'failed') ? 1 : 0
}
