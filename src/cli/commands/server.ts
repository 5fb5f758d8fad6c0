import { join } from 'node:path'
import { DATA_FILES } from '../../contract/data-files.ts'
import type { Finding, ServerView } from '../../contract/server.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import {
  askServerProgram,
  fatalOf,
  holderOf,
  isAnswering,
  runServerHere,
  startServerProcess,
  stopServerProcess,
} from '../server-process.ts'
import type { Terminal } from '../terminal.ts'

/** `shiplock server`: in this terminal, until Ctrl-C. Apps and edge go on without it. */
export function serverRun({ env }: CliContext): Promise<number> {
  return runServerHere(env)
}

export async function serverStart(_options: CommonOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  requireLocal(connection.isLocal)
  if (await isAnswering(connection)) {
    if (terminal.isJson) terminal.json({ url: connection.url, started: false })
    terminal.print(`A server runs already at ${connection.url}`)
    return EXIT_CODES.ok
  }
  const started = await startServerProcess(connection, { env: context.env, isForeground: false, signal: context.signal })
  if (terminal.isJson) terminal.json({ url: started.connection.url, started: true, pid: started.child.pid })
  terminal.print(`${terminal.colors.green('✔')} server ready at ${started.connection.url}; its output goes to ${started.logFile}`)
  return EXIT_CODES.ok
}

export interface StopOptions extends CommonOptions {
  /** Apps and edge too. */
  readonly all?: boolean
}

export async function serverStop(options: StopOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  requireLocal(connection.isLocal)
  const isAll = options.all === true
  // Apps and edge may serve on without a server, which alone knows how to end them.
  if (isAll && !(await isAnswering(connection))) {
    await startServerProcess(connection, { env: context.env, isForeground: true, signal: context.signal })
  }
  const stopped = await stopServerProcess(connection.dataDirectory, isAll, context.signal)
  if (terminal.isJson) terminal.json({ stopped })
  const what = isAll ? 'stopped server, apps and edge' : 'stopped; the apps and the edge go on serving'
  terminal.print(stopped ? `${terminal.colors.green('✔')} ${what}` : 'No server runs here.')
  return EXIT_CODES.ok
}

export async function serverStatus(_options: CommonOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { colors } = terminal
  const { client, url, isLocal, dataDirectory } = await context.connect()
  const server = await client.call('getServer')
  const pid = isLocal ? await holderOf(dataDirectory) : null
  if (terminal.isJson) {
    terminal.json({ url, pid, ...server })
    return EXIT_CODES.ok
  }
  terminal.print(
    `${colors.green('✔')} Shiplock ${printable(server.version)} at ${url}${pid === null ? '' : `, process ${pid}`}, started ${formatAgo(server.startedAt, Date.now())}`,
  )
  terminal.print(`  ${server.queue.inProgress} of ${server.slots} deployments in progress, ${server.queue.pending} waiting`)
  if (server.servers.length > 1) for (const line of renderServers(server.servers, terminal)) terminal.print(line)
  if (isLocal)
    terminal.print(colors.dim(`  data in ${dataDirectory}; output of a background server in ${join(dataDirectory, DATA_FILES.serverLog)}`))
  for (const line of renderChecks(server.checks, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

/** `shiplock doctor`: what is there and what is missing; asks the server when one runs, else looks by itself. */
export async function doctor(_options: CommonOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const isRunning = await isAnswering(connection)
  const checks = isRunning ? (await connection.client.call('getServer')).checks : await checkHere(context)
  const server: Finding = isRunning
    ? { name: 'server', status: 'ok', summary: `answers at ${connection.url}`, hint: null }
    : { name: 'server', status: 'warning', summary: `none answers at ${connection.url}`, hint: '`shiplock server start` starts one.' }
  const all = [server, ...checks]
  if (terminal.isJson) terminal.json({ checks: all })
  for (const line of renderChecks(all, terminal)) terminal.print(line)
  return all.some((check) => check.status === 'failed') ? EXIT_CODES.platform : EXIT_CODES.ok
}

async function checkHere({ env }: CliContext): Promise<Finding[]> {
  const { stdout, stderr } = await askServerProgram(env, ['doctor'])
  try {
    return JSON.parse(stdout) as Finding[]
  } catch {
    throw (
      fatalOf(stderr.split('\n')) ??
      new ShiplockError('INTERNAL', 'the checks could not be made', { details: { logTail: stderr.split('\n').slice(-10) } })
    )
  }
}

function renderServers(servers: ServerView['servers'], { colors }: Terminal): string[] {
  return servers.map((server) => {
    const what = server.isAlive ? (server.isWorking ? 'works' : 'stands by') : 'ended'
    return colors.dim(`  server ${server.id} on ${printable(server.name)} ${what}${server.isThis ? ', this one' : ''}`)
  })
}

function renderChecks(checks: readonly Finding[], { colors }: Terminal): string[] {
  const glyph = { ok: colors.green('✔'), warning: colors.yellow('!'), failed: colors.red('✖') }
  const width = Math.max(0, ...checks.map((check) => check.name.length))
  return checks.flatMap((check) => [
    `  ${glyph[check.status]} ${check.name.padEnd(width)}  ${printable(check.summary)}`,
    ...(check.hint === null || check.status === 'ok' ? [] : [`    ${' '.repeat(width)}  ${colors.cyan(printable(check.hint))}`]),
  ])
}

function requireLocal(isLocal: boolean): void {
  if (isLocal) return
  throw new ShiplockError('INPUT_INVALID', 'SHIPLOCK_URL names a server elsewhere; it can only be started and stopped where it is', {
    hint: 'Unset SHIPLOCK_URL to mean the server of this machine.',
  })
}
