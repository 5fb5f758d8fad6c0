import type { Deployment } from '../../contract/deployment.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import type { Client } from '../client.ts'
import type { Connection } from '../connection.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { provideSource, readTarget } from '../deploy-target.ts'
import { type FollowUntil, followDeployment, hasServed } from '../follow-deployment.ts'
import { createPipelineView } from '../pipeline-view.ts'
import { renderNext, renderResult } from '../render-deployment.ts'
import { exitCodeOf } from '../render-error.ts'
import { isAnswering, type StartedServer, startServerProcess } from '../server-process.ts'

export interface DeployOptions extends CommonOptions {
  readonly ref?: string
  readonly config?: string
  readonly image?: string
  readonly build?: 'auto' | 'dockerfile' | 'recipe'
  readonly root?: string
  readonly rebuild?: boolean
  readonly autoRollback?: boolean
  readonly overrideFreeze?: string
  readonly message?: string
  readonly detach?: boolean
  readonly settled?: boolean
  /** Of `deploy`: the code of last time. */
  readonly again?: boolean
  /** Of `up`: the server runs as long as this command. */
  readonly foreground?: boolean
}

/** `shiplock up`: makes sure that a server runs, then deploys. */
export async function up(given: string, options: DeployOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { colors } = terminal
  const found = await context.connect()
  let connection = found
  let started: StartedServer | null = null
  if (!(await isAnswering(found))) {
    // A server elsewhere can't be started from here; the call says what is wrong.
    if (!found.isLocal) await found.client.call('getServer')
    const begin = performance.now()
    terminal.print(`  ${colors.dim(`starting a server in ${found.dataDirectory} …`)}`)
    started = await startServerProcess(found, { env: context.env, isForeground: options.foreground === true, signal: context.signal })
    connection = started.connection
    terminal.print(`  ${colors.green('✔')} server ready at ${connection.url} in ${((performance.now() - begin) / 1000).toFixed(1)} s`)
  }
  if (options.foreground !== true) return deployTo(connection, given, options, context)
  return deployInForeground(connection, started, given, options, context)
}

async function deployInForeground(
  connection: Connection,
  started: StartedServer | null,
  given: string,
  options: DeployOptions,
  context: CliContext,
): Promise<number> {
  const { terminal, signal } = context
  let code: number
  try {
    code = await deployTo(connection, given, options, context)
  } catch (error) {
    await stopForeground(started, terminal)
    throw error
  }
  if (started === null) {
    terminal.print(`\n  The server was running before and goes on. ${terminal.colors.dim('`server stop` stops it.')}`)
    return code
  }
  if (signal.aborted || (code !== EXIT_CODES.ok && !(await somethingServes(connection)))) {
    await stopForeground(started, terminal)
    return code
  }
  terminal.print(`\n  The server runs in this terminal. ${terminal.colors.bold('Ctrl-C')} stops it, and the apps and the edge with it.`)
  const { child } = started
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  if (child.exitCode === null) await Promise.race([ended, aborted(signal)])
  if (!signal.aborted) {
    terminal.error(`The server ended by itself (exit code ${child.exitCode}); its output is in ${started.logFile}`)
    return EXIT_CODES.platform
  }
  await stopForeground(started, terminal)
  return EXIT_CODES.ok
}

async function somethingServes({ client }: Connection): Promise<boolean> {
  const { items } = await client.call('listServices', { query: { limit: 200 } })
  return items.some((service) => service.live !== null)
}

async function stopForeground(started: StartedServer | null, terminal: CliContext['terminal']): Promise<void> {
  if (started === null || started.child.exitCode !== null) return
  const { child } = started
  const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  terminal.print('\n  stopping the server, the apps and the edge …')
  child.kill('SIGINT')
  await ended
  terminal.print(`  ${terminal.colors.green('✔')} stopped; everything is kept for the next start`)
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** `shiplock deploy`: to a server that runs. */
export async function deploy(given: string, options: DeployOptions, context: CliContext): Promise<number> {
  return deployTo(await context.connect(), given, options, context)
}

async function deployTo(connection: Connection, given: string, options: DeployOptions, context: CliContext): Promise<number> {
  const { client } = connection
  const { terminal } = context
  const begun: Deployment[] = []
  const base = {
    ...scopeOf(options),
    trigger: { kind: 'cli' as const, note: options.message ?? null },
    options: {
      rebuild: options.rebuild === true,
      autoRollback: options.autoRollback === false ? false : null,
      configPath: options.config ?? null,
      rootDirectory: options.root ?? null,
      build: options.build ?? 'auto',
      overrideFreeze: options.overrideFreeze ?? null,
    },
  }
  if (options.again === true) {
    const service = await requireServiceName(undefined, options, connection)
    begun.push(await client.call('createDeployment', { body: { ...base, service } }))
  } else {
    const target = await readTarget(given, options, context.workingDirectory, terminal, client)
    const source = await provideSource(target, client, options.project, terminal)
    for (const service of target.services) begun.push(await client.call('createDeployment', { body: { ...base, service, source } }))
  }
  return followAll(begun, client, options, context)
}

/** Follows one after the other; they are in the queue together. The exit code is that of the first that failed. */
export async function followAll(
  begun: readonly Deployment[],
  client: Client,
  options: Pick<DeployOptions, 'detach' | 'settled' | 'foreground'>,
  context: CliContext,
): Promise<number> {
  const { terminal } = context
  const ended: Deployment[] = []
  for (const deployment of begun) {
    if (options.detach === true) {
      terminal.print(`  queued ${deployment.id}: ${deployment.kind} of ${deployment.service} to ${deployment.environment}`)
      ended.push(deployment)
      continue
    }
    const present = await followOne(deployment, client, options.settled === true ? 'settled' : 'live', context)
    ended.push(present)
    if (context.signal.aborted) {
      if (options.foreground !== true) sayGoesOn(present, context)
      break
    }
    for (const line of renderResult(present, terminal)) terminal.print(line)
    if (ended.length === begun.length) for (const line of renderNext(present, terminal)) terminal.print(line)
  }
  if (terminal.isJson) terminal.json({ deployments: ended })
  if (context.signal.aborted) return INTERRUPTED
  if (options.detach === true) return EXIT_CODES.ok
  return ended.map(exitCodeFor).find((code) => code !== EXIT_CODES.ok) ?? EXIT_CODES.ok
}
/** As shells have it for Ctrl-C: 128 + SIGINT. */
const INTERRUPTED = 130

async function followOne(deployment: Deployment, client: Client, until: FollowUntil, context: CliContext): Promise<Deployment> {
  const { terminal, signal } = context
  const { colors } = terminal
  terminal.print(
    `\n  ${deployment.kind === 'rollback' ? 'Rolling back' : 'Deploying'} ${colors.bold(deployment.service)} to ${deployment.environment}  ${colors.dim(deployment.id)}`,
  )
  const view = createPipelineView(terminal)
  try {
    return await followDeployment(deployment.id, { client, view, until, signal })
  } finally {
    view.close()
  }
}

function sayGoesOn(deployment: Deployment, { terminal }: CliContext): void {
  if (deployment.settled) return
  terminal.error(`\nThe deployment goes on without this terminal.`)
  terminal.error(`  follow it:  ${terminal.program} logs ${deployment.id} -f`)
  terminal.error(`  cancel it:  ${terminal.program} cancel ${deployment.id}`)
}

function exitCodeFor(deployment: Deployment): number {
  if (deployment.status === 'failed') return exitCodeOf(deployment.error?.code ?? '')
  if (deployment.status === 'canceled') return EXIT_CODES.canceled
  return hasServed(deployment) ? EXIT_CODES.ok : EXIT_CODES.deploymentFailed
}
