import { IN_PROGRESS, NEXT, STAGES, STATUS_OF_STAGE, STATUSES } from './deployment-machine.ts'
import { INSTANCE_NEXT, INSTANCE_STATES } from './instance-machine.ts'

/** The diagrams of ARCHITECTURE.md, printed from the tables that the engine obeys. By the name of their markers. */
export function diagrams(): Readonly<Record<string, string>> {
  return {
    'deployment machine': machine(STATUSES, NEXT, 'pending'),
    'instance machine': machine(INSTANCE_STATES, INSTANCE_NEXT, 'starting'),
    stages: stagesTable(),
  }
}

function machine(states: readonly string[], next: Readonly<Record<string, readonly string[]>>, first: string): string {
  const moves = states.flatMap((from) => {
    const to = next[from] ?? []
    return to.length === 0 ? [`  ${from} --> [*]`] : to.map((state) => `  ${from} --> ${state}`)
  })
  return fenced(['stateDiagram-v2', `  [*] --> ${first}`, ...moves])
}

function stagesTable(): string {
  const isHeld = (status: string) => (IN_PROGRESS as readonly string[]).includes(status)
  const rows = STAGES.map((stage, place) => {
    const status = STATUS_OF_STAGE[stage]
    return `| ${place + 1} | \`${stage}\` | \`${status}\` | ${isHeld(status) ? 'held' : 'free'} |`
  })
  return ['', '| | stage | status shown | slot |', '| --- | --- | --- | --- |', ...rows, ''].join('\n')
}

function fenced(lines: readonly string[]): string {
  return ['', '```mermaid', ...lines, '```', ''].join('\n')
}
