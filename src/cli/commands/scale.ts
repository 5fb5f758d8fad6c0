import type { Event } from '../../contract/event.ts'
import { INSTANCES_MAX, type Service } from '../../contract/service.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { Client } from '../client.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { count } from '../format.ts'

export interface ScaleOptions extends CommonOptions {
  readonly reset?: boolean
  readonly detach?: boolean
}

const LOOK_EVERY_MS = 250
/** As shells have it for Ctrl-C: 128 + SIGINT. */
const INTERRUPTED = 130
type Scope = ReturnType<typeof scopeOf>

/** `shiplock scale SERVICE N`: asks for it and follows until as many serve. */
export async function scale(args: readonly string[], options: ScaleOptions, context: CliContext): Promise<number> {
  const [service = '', given] = args
  const { terminal } = context
  const instances = wantedOf(given, options.reset === true)
  const { client } = await context.connect()
  const query = scopeOf(options)
  const asked = await client.call('scaleService', { params: { service }, query, body: { instances } })
  const { wanted, serving } = asked.instances
  if (options.detach === true || asked.live === null || wanted === null || serving === wanted) return tell(asked, context)
  terminal.print(`  ${terminal.colors.bold(service)}: ${serving} → ${count(wanted, 'instance')}`)
  const trouble = await follow(client, service, query, context)
  const present = await client.call('getService', { params: { service }, query })
  if (trouble === null && !context.signal.aborted) return tell(present, context)
  if (terminal.isJson) terminal.json(present)
  terminal.error(`The server goes on trying; \`${terminal.program} scale ${service} --reset\` ends that.`)
  return trouble === null ? INTERRUPTED : EXIT_CODES.deploymentFailed
}

function wantedOf(given: string | undefined, isReset: boolean): number | null {
  if (isReset && given === undefined) return null
  const number = Number(given)
  if (!isReset && /^\d{1,3}$/.test(given ?? '') && number >= 1 && number <= INSTANCES_MAX) return number
  throw new ShiplockError(
    'INPUT_INVALID',
    isReset ? 'a number of instances and --reset exclude each other' : `${what(given)} of instances`,
    {
      hint: `Give 1 to ${INSTANCES_MAX}, or --reset for what the configuration says.`,
    },
  )
}

function what(given: string | undefined): string {
  return given === undefined ? 'there is no number' : `${printable(given)} is no possible number`
}

/** Null when as many serve as are wanted, or on Ctrl-C; else why one more did not become ready. */
async function follow(client: Client, service: string, query: Scope, { terminal, signal }: CliContext): Promise<string | null> {
  const over = new AbortController()
  const both = AbortSignal.any([signal, over.signal])
  let trouble: string | null = null
  const telling = (async () => {
    const types = { ...query, service, type: 'service.scaled,instance.unhealthy' }
    for await (const frame of client.stream('listEvents', { query: types, signal: both })) {
      if (frame.event !== 'event') continue
      const event = frame.data as Event
      terminal.print(`  ${printable(event.message)}`)
      if (event.type !== 'instance.unhealthy') continue
      trouble = event.message
      over.abort()
    }
  })().catch(() => {})
  while (!both.aborted) {
    const { instances } = await client.call('getService', { params: { service }, query })
    if (instances.serving === instances.wanted) break
    await pause(LOOK_EVERY_MS, both)
  }
  over.abort()
  await telling
  return trouble
}

function tell(service: Service, { terminal }: CliContext): number {
  if (terminal.isJson) terminal.json(service)
  const { wanted, serving, scaledTo } = service.instances
  const by = scaledTo === null ? 'as its configuration says' : 'whatever its configuration says; --reset ends that'
  const what =
    service.live === null
      ? `nothing is live; ${wanted === null ? 'its next deployment decides' : `${count(wanted, 'instance')} from the next deployment on`}`
      : serving === wanted
        ? `${count(serving, 'instance')} ${serving === 1 ? 'serves' : 'serve'}, ${by}`
        : `${count(wanted ?? 0, 'instance')} wanted, ${serving} serving`
  terminal.print(`${terminal.colors.green('✔')} ${service.service}: ${what}`)
  return EXIT_CODES.ok
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    signal.addEventListener('abort', done, { once: true })
  })
}
