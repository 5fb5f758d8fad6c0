import type { ServiceInput } from '../manifest/schema.ts'
import { siteOf } from './zerops-routing.ts'
import type { Setup } from './zerops-schema.ts'

type Path = readonly string[]

/** What a setup becomes, with what could not be carried over: refused where behaviour would differ, noted where it would not. */
export interface Translation {
  readonly input: ServiceInput
  readonly refused: readonly { readonly path: Path; readonly message: string }[]
  readonly notes: readonly string[]
}

type Run = NonNullable<Setup['run']>

/** Runtimes of that platform that serve files themselves, without a start command. */
const FILE_SERVERS = /^(static|nginx)(@|$)/

export function translate(setup: Setup): Translation {
  const refused: { path: Path; message: string }[] = []
  const notes: string[] = []
  const refuse = (path: Path, message: string) => refused.push({ path, message })
  const run = setup.run ?? {}
  refuseWhatIsNotThere(run, refuse)
  const port = portOf(run, refuse, notes)
  const input: ServiceInput = {
    ...(setup.build === undefined ? {} : { build: buildOf(setup.build, notes) }),
    ...(setup.deploy === undefined ? {} : { deploy: defined(setup.deploy) }),
    run: defined({
      base: FILE_SERVERS.test(run.base ?? '') ? undefined : run.base,
      os: run.os,
      prepareCommands: run.prepareCommands,
      initCommands: initOf(run),
      start: startOf(run, refuse),
      staticRoot: staticRootOf(run),
      site: siteOf(run, staticRootOf(run) !== undefined, refuse),
      port,
      env: envOf(run, port, notes),
      healthCheck: run.healthCheck,
    }),
  }
  return { input: defined(input), refused, notes }
}

function buildOf(build: NonNullable<Setup['build']>, notes: string[]): ServiceInput['build'] {
  if (build.cache === true)
    notes.push('build.cache: true keeps the whole build container; only listed paths are cached here, so nothing is')
  const { envVariables, cache, ...same } = build
  return defined({ ...same, env: envVariables, cache: typeof cache === 'boolean' ? undefined : cache })
}

function refuseWhatIsNotThere(run: Run, refuse: (path: Path, message: string) => void): void {
  const missing = {
    crontab: 'has no equivalent: run the job by a scheduler of your own, or inside the app',
    envReplace: 'has no equivalent: replace the placeholders in an init command',
    siteConfigPath: 'has no equivalent: start the web server yourself by run.start',
  } as const
  for (const [key, message] of Object.entries(missing)) if (run[key as keyof Run] !== undefined) refuse(['run', key], message)
  if (/^php-(nginx|apache)(@|$)/.test(run.base ?? '') && run.start === undefined && run.startCommands === undefined)
    refuse(['run', 'base'], 'brings a web server of its own, which has no equivalent: give run.start')
}

/** One port per service here: the one that speaks HTTP, else the first. */
function portOf(run: Run, refuse: (path: Path, message: string) => void, notes: string[]): number | undefined {
  const ports = run.ports ?? []
  for (const [index, { protocol }] of ports.entries())
    if (protocol?.toUpperCase() === 'UDP') refuse(['run', 'ports', String(index), 'protocol'], 'can only be TCP here')
  const chosen = ports.find(({ httpSupport }) => httpSupport === true) ?? ports[0]
  const others = ports.filter((each) => each !== chosen).map((each) => each.port)
  if (others.length > 0)
    notes.push(`run.ports: only port ${chosen?.port} is reached from outside; ${others.join(', ')} stays inside the instance`)
  return chosen?.port
}

function startOf(run: Run, refuse: (path: Path, message: string) => void): string | string[] | undefined {
  if (run.startCommands === undefined) return run.start
  if (run.start !== undefined) refuse(['run', 'startCommands'], "can't stand beside run.start: choose one of them")
  return run.startCommands.map(({ command, workingDir, user }, index) => {
    if (user !== undefined) refuse(['run', 'startCommands', String(index), 'user'], 'has no equivalent: all commands run as one user')
    return workingDir === undefined ? command : `cd ${shellQuoted(workingDir)} && ${command}`
  })
}

function initOf(run: Run): string[] | undefined {
  const all = [run.initCommands, ...(run.startCommands ?? []).map(({ initCommands }) => initCommands)].flatMap((commands) => commands ?? [])
  return all.length === 0 ? undefined : all
}

function staticRootOf(run: Run): string | undefined {
  if (run.start !== undefined || run.startCommands !== undefined || !FILE_SERVERS.test(run.base ?? '')) return undefined
  return run.documentRoot ?? '.'
}

/** PORT is ours to set. Where the file sets it to the port that the service has anyway, nothing changes. */
function envOf(run: Run, port: number | undefined, notes: string[]): Run['envVariables'] {
  if (run.envVariables?.PORT === undefined || Number(run.envVariables.PORT) !== port) return run.envVariables
  notes.push(`run.envVariables.PORT is left out: it is set to ${port} anyway`)
  const { PORT: _, ...others } = run.envVariables
  return others
}

/** For /bin/sh inside the instance. */
function shellQuoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}

function defined<T extends object>(value: T): T {
  return Object.fromEntries(Object.entries(value).filter(([, item]) => item !== undefined)) as T
}
