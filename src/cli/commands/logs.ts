import type { InstanceLine, LogLine, StreamEnd } from '../../contract/event.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatClock } from '../format.ts'
import type { Terminal } from '../terminal.ts'

export interface LogsOptions extends CommonOptions {
  readonly follow?: boolean
  readonly tail?: number
}

const PAGE = 200
const TAIL_DEFAULT = 100

/** `shiplock logs`: of a service, what its instances print; of a deployment, how it went. */
export async function logs(target: string | undefined, options: LogsOptions, context: CliContext): Promise<number> {
  return target?.startsWith('dep_') === true ? deploymentLogs(target, options, context) : instanceLogs(target, options, context)
}

async function deploymentLogs(id: string, options: LogsOptions, { connect, terminal, signal }: CliContext): Promise<number> {
  const { client } = await connect()
  const print = (line: LogLine) => {
    if (terminal.isJson) terminal.json(line, { isLine: true })
    else terminal.print(renderLogLine(line, terminal))
  }
  if (options.follow !== true) {
    const lines: LogLine[] = []
    for (let after: string | null = '0'; after !== null; ) {
      const page: { items: LogLine[]; next: string | null } = await client.call('getDeploymentLogs', {
        params: { id },
        query: { after, limit: PAGE },
      })
      lines.push(...page.items)
      after = page.next
    }
    for (const line of options.tail === undefined ? lines : lines.slice(Math.max(0, lines.length - options.tail))) print(line)
    return EXIT_CODES.ok
  }
  for await (const frame of client.stream('getDeploymentLogs', { params: { id }, signal })) {
    if (frame.event === 'line') print(frame.data as LogLine)
    else if (frame.event === 'end')
      terminal.print(terminal.colors.dim(`-- ${printable((frame.data as StreamEnd).reason)}: ${(frame.data as StreamEnd).status ?? ''}`))
  }
  return EXIT_CODES.ok
}

async function instanceLogs(named: string | undefined, options: LogsOptions, context: CliContext): Promise<number> {
  const { terminal, signal } = context
  const connection = await context.connect()
  const service = await requireServiceName(named, options, connection)
  const request = { params: { service }, query: { ...scopeOf(options), tail: options.tail ?? TAIL_DEFAULT } }
  const print = (line: InstanceLine) => {
    if (terminal.isJson) terminal.json(line, { isLine: true })
    else terminal.print(renderInstanceLine(line, terminal))
  }
  if (options.follow !== true) {
    const { items } = await connection.client.call('streamServiceLogs', request)
    for (const line of items) print(line)
    return EXIT_CODES.ok
  }
  for await (const frame of connection.client.stream('streamServiceLogs', { ...request, signal })) {
    if (frame.event === 'line') print(frame.data as InstanceLine)
  }
  return EXIT_CODES.ok
}

export function renderLogLine(line: LogLine, { colors }: Pick<Terminal, 'colors'>): string {
  const text = printable(line.text)
  const mark = line.stream === 'command' ? colors.cyan(`$ ${text}`) : line.stream === 'engine' ? colors.dim(text) : text
  return `${colors.dim(formatClock(line.at))} ${colors.dim(line.stream.padEnd(8))} ${mark}`
}

function renderInstanceLine(line: InstanceLine, { colors }: Pick<Terminal, 'colors'>): string {
  const label = `${line.release === null ? '' : `v${line.release} `}${line.instance.slice(-INSTANCE_SHOWN)}`
  return `${colors.dim(formatClock(line.at))} ${colors.cyan(label)} ${printable(line.text)}`
}
/** The end of an instance id tells copies and attempts apart. */
const INSTANCE_SHOWN = 9
