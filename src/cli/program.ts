import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander'
import { EXIT_CODES } from '../core/errors.ts'
import { addAccess } from './access-program.ts'
import { artifact } from './commands/artifact.ts'
import { CACHE_LAYERS, cacheClear, cacheList } from './commands/cache.ts'
import { configConvert, configExplain } from './commands/config.ts'
import { deploy, up } from './commands/deploy.ts'
import { events } from './commands/events.ts'
import { freeze, freezes, unfreeze } from './commands/freeze.ts'
import { gc } from './commands/gc.ts'
import { logs } from './commands/logs.ts'
import { cancel, queue, why } from './commands/queue.ts'
import { releases, releasesDiff, rollback } from './commands/releases.ts'
import { scale } from './commands/scale.ts'
import { scan } from './commands/scan.ts'
import { doctor, serverRun, serverStart, serverStatus, serverStop } from './commands/server.ts'
import { status } from './commands/status.ts'
import { common, type Run, type Runner } from './common-options.ts'
import type { CliContext, CommonOptions } from './context.ts'
import { addHooks } from './hook-program.ts'
import { addSecrets, addServerKeys } from './secret-program.ts'

/** Given the options of a command line, what commands work with. */
export type ContextFor = (options: CommonOptions) => CliContext

/** What each exit code means; in --help and docs/cli.md. */
export const EXIT_CODE_MEANINGS: Readonly<Record<keyof typeof EXIT_CODES, string>> = {
  ok: 'done',
  usage: 'the command line, the configuration or another input is wrong',
  deploymentFailed: 'the deployment failed: build, start, readiness, bake',
  platform: 'the platform failed, or is not there: try again, or see `shiplock doctor`',
  notFound: 'what was named does not exist',
  conflict: 'the present state forbids it',
  unauthorized: 'no token, or not allowed',
  canceled: 'the deployment was canceled',
}

export function exitCodeTable(): string[] {
  const known = Object.entries(EXIT_CODES).map(([name, code]) => [code, EXIT_CODE_MEANINGS[name as keyof typeof EXIT_CODES]] as const)
  return [...known, [130, 'Ctrl-C'] as const].map(([code, meaning]) => `  ${String(code).padEnd(4)}${meaning}`)
}

/** The command line as data for commander. `onCode` receives the exit code of the command that ran. */
export function createProgram(contextFor: ContextFor, version: string, onCode: (code: number) => void): Command {
  const program = new Command('shiplock')
    .description('Deploys source code without losing a request: queue, build, readiness, atomic swap, drain, rollback.')
    .version(version, '-V, --version')
    .showSuggestionAfterError()
    .showHelpAfterError('(add --help for what is possible)')
    .addHelpText('after', `\nExit codes:\n${exitCodeTable().join('\n')}`)
    .exitOverride()
  const run =
    <Options extends CommonOptions>(work: Run<Options>) =>
    async (...given: unknown[]) => {
      // Commander passes the arguments, then the options, then the command.
      const command = given.at(-1) as Command
      const options = command.optsWithGlobals() as Options
      onCode(await work(options, contextFor(options), command.args))
    }
  addDeploying(program, run)
  addLooking(program, run)
  addManaging(program, run)
  addAccess(program, run)
  addHooks(program, run)
  return program
}

function deploying(command: Command): Command {
  return common(command)
    .option('--ref <ref>', 'branch, tag or commit of a git URL (also as URL#ref)')
    .option('--config <file>', 'configuration file inside the source')
    .option('--image <reference>', 'deploy this ready image: name:tag or name@sha256:…')
    .option('--root <directory>', 'directory inside the source that holds the service')
    .addOption(
      new Option('--build <what>', 'where no configuration says it: an image from the Dockerfile, or a recipe').choices([
        'auto',
        'dockerfile',
        'recipe',
      ]),
    )
    .option('--rebuild', 'build even if nothing changed')
    .option('--no-auto-rollback', 'do not swap back by itself when the new version fails after the swap')
    .option('--override-freeze <reason>', 'start although the environment is frozen; the reason is kept')
    .option('-m, --message <text>', 'note that stays with the deployment')
    .option('-d, --detach', 'queue it and return')
    .option('--settled', 'wait until the new version has passed its watch, too')
}

function addDeploying(program: Command, run: Runner): void {
  deploying(program.command('up').argument('[source]', 'directory or git URL', '.'))
    .description('deploy a directory or a git repository; starts a server if none runs')
    .option('--foreground', 'run the server in this terminal: Ctrl-C stops it with its apps')
    .action(run<Parameters<typeof up>[1]>((options, context, args) => up(args[0] ?? '.', options, context)))
  deploying(program.command('deploy').argument('[source]', 'directory or git URL', '.'))
    .description('deploy to a running server')
    .option('--again', 'take the code from where the last deployment of the service took it')
    .action(run<Parameters<typeof deploy>[1]>((options, context, args) => deploy(args[0] ?? '.', options, context)))
  common(program.command('rollback').argument('[release]', 'e.g. v3; left out: the one before'))
    .description('go back to an earlier release, with its variables and configuration')
    .addOption(
      new Option('--env <which>', 'variables as sealed with the release, or as they are now')
        .choices(['sealed', 'current'])
        .default('sealed'),
    )
    .option('--plan', 'only show what would differ')
    .option('-y, --yes', 'do not ask; nobody is asked either where no terminal is')
    .option('--release-hold', 'only let automatic deployments go on again after an earlier rollback')
    .option('--force', 'also to a release whose last attempt failed, or that is live')
    .option('-m, --message <text>', 'note that stays with the deployment')
    .option('-d, --detach', 'queue it and return')
    .option('--settled', 'wait until it has passed its watch, too')
    .action(run<Parameters<typeof rollback>[1]>((options, context, args) => rollback(args[0], options, context)))
  common(program.command('scale').argument('<service>').argument('[instances]', '1 to 10'))
    .description('change how many instances serve, without a deployment; new ones pass their readiness check first')
    .option('--reset', 'as many as the configuration says')
    .option('-d, --detach', 'ask for it and return')
    .action(run<Parameters<typeof scale>[1]>((options, context, args) => scale(args, options, context)))
  common(program.command('cancel').argument('[deployment]', 'id; left out: the only one that is not settled'))
    .description('cancel a deployment that has not swapped yet')
    .action(run((options, context, args) => cancel(args[0], options, context)))
}

function addLooking(program: Command, run: Runner): void {
  for (const name of ['status', 'services']) {
    common(program.command(name).argument('[service]'))
      .description(
        name === 'status' ? 'all services, or one in full with its stages and swap receipt' : 'the same as status without a name',
      )
      .action(run((options, context, args) => status(args[0], options, context)))
  }
  common(program.command('logs').argument('[target]', 'service, or id of a deployment'))
    .description('what the instances of a service print, or how a deployment went')
    .option('-f, --follow', 'go on with what comes')
    .option('-n, --tail <lines>', 'only the last lines', parseCount)
    .action(run<Parameters<typeof logs>[1]>((options, context, args) => logs(args[0], options, context)))
  common(program.command('events'))
    .description('what happened, in order')
    .option('-f, --follow', 'go on with what comes')
    .option('--deployment <id>', 'of one deployment')
    .option('--type <types>', 'of these types, with commas between them')
    .option('--since <time>', 'ISO 8601, e.g. 2026-01-31T12:00:00Z')
    .action(run<Parameters<typeof events>[0]>((options, context) => events(options, context)))
  common(program.command('scan').argument('[target]', 'service, or id of a deployment'))
    .description('vulnerabilities in what serves, or in what was blocked; of a deployment, in its artifact')
    .option('--all', 'also those that no policy is about')
    .action(run<Parameters<typeof scan>[1]>((options, context, args) => scan(args[0], options, context)))
  const kept = common(program.command('releases').argument('[service]'))
    .description('releases of a service: what can be rolled back to')
    .option('--pin <release>', 'exempt one from retention')
    .option('--unpin <release>', 'give one back to retention')
    .action(run<Parameters<typeof releases>[1]>((options, context, args) => releases(args[0], options, context)))
  common(kept.command('diff').argument('<release>', 'e.g. v3'))
    .description('what differs between a release and the live one: then, now')
    .addOption(new Option('--env <which>', 'its variables as sealed, or as they are now').choices(['sealed', 'current']).default('sealed'))
    .action(run<Parameters<typeof releasesDiff>[1]>((options, context, args) => releasesDiff(args[0] ?? '', options, context)))
  common(program.command('artifact').argument('<release>', 'e.g. v3'))
    .description('download the file tree of a release as tar.gz')
    .option('-o, --output <file>', 'where to write it (default: <service>-v<n>.tar.gz)')
    .action(run<Parameters<typeof artifact>[1]>((options, context, args) => artifact(args[0] ?? '', options, context)))
  common(program.command('queue'))
    .description('what is in progress, what waits, for what and since when')
    .action(run((options, context) => queue(options, context)))
  common(program.command('why').argument('<deployment>', 'id'))
    .description('why a deployment stands where it stands, and what to do next')
    .action(run((options, context, args) => why(args[0] ?? '', options, context)))
  common(program.command('freezes'))
    .description('what is frozen, until when and why')
    .action(run((options, context) => freezes(options, context)))
}

function addManaging(program: Command, run: Runner): void {
  common(program.command('freeze').argument('[environment]'))
    .description('let nothing start in an environment but rollbacks; waiting deployments go on afterwards')
    .option('--until <time>', 'e.g. 2h, 3d or 2026-12-24T18:00Z; left out: until `unfreeze`')
    .option('--reason <text>', 'why; shown to whoever is held back')
    .option('--project-wide', 'every environment of the project')
    .action(run<Parameters<typeof freeze>[1]>((options, context, args) => freeze(args[0], options, context)))
  common(program.command('unfreeze').argument('[environment]'))
    .description('end a freeze before its time')
    .option('--project-wide', 'the freeze of the whole project')
    .action(run<Parameters<typeof unfreeze>[1]>((options, context, args) => unfreeze(args[0], options, context)))
  addSecrets(program, run)
  common(program.command('gc'))
    .description('clear up images, build cache and networks that nobody needs')
    .option('--dry-run', 'only say what would go')
    .action(run((options, context) => gc(options, context)))
  const cache = program.command('cache').description('what builds keep for the next build')
  common(cache.command('list'))
    .description('caches and runtime layers with their sizes')
    .action(run((options, context) => cacheList(options, context)))
  common(cache.command('clear').addArgument(new Argument('[layer]', 'which one').choices(CACHE_LAYERS).default('all')))
    .description('forget a layer of a service: base, build, run or all; the next build makes it again')
    .action(run((options, context, args) => cacheClear(CACHE_LAYERS.find((layer) => layer === args[0]) ?? 'all', options, context)))
  const config = program.command('config').description('configuration of a source directory')
  common(config.command('explain').argument('[directory]', 'directory', '.'))
    .description('the resolved configuration and where each value came from')
    .option('--config <file>', 'configuration file inside the directory')
    .option('--root <directory>', 'directory inside it that holds the service')
    .action(run<Parameters<typeof configExplain>[1]>((options, context, args) => configExplain(args[0] ?? '.', options, context)))
  common(config.command('convert').argument('[directory]', 'directory', '.'))
    .description('write shiplock.yaml from a zerops.yml or ezforge.toml')
    .option('--config <file>', 'configuration file inside the directory')
    .option('-o, --output <file>', 'where to write; - prints it')
    .option('--force', 'overwrite what is there')
    .action(run<Parameters<typeof configConvert>[1]>((options, context, args) => configConvert(args[0] ?? '.', options, context)))
  const server = common(program.command('server'))
    .description('run a server in this terminal; apps and edge go on when it ends')
    .action(run((_options, context) => serverRun(context)))
  common(server.command('start'))
    .description('start one in the background')
    .action(run((options, context) => serverStart(options, context)))
  common(server.command('stop'))
    .description('stop it; apps and edge go on serving')
    .option('--all', 'apps and edge too')
    .action(run<Parameters<typeof serverStop>[0]>((options, context) => serverStop(options, context)))
  common(server.command('status'))
    .description('version, queue and checks')
    .action(run((options, context) => serverStatus(options, context)))
  addServerKeys(server, run)
  common(program.command('doctor'))
    .description('what is there and what is missing')
    .action(run((options, context) => doctor(options, context)))
}

const TAIL_MAX = 10_000

function parseCount(given: string): number {
  const number = Number(given)
  if (!/^\d{1,6}$/.test(given) || number > TAIL_MAX) throw new InvalidArgumentError(`a whole number up to ${TAIL_MAX} is needed`)
  return number
}

/** Commander's own refusals are usage errors; help and version are not errors at all. */
export function exitCodeOfCommander(error: unknown): number | null {
  if (!(error instanceof CommanderError)) return null
  return error.exitCode === 0 ? EXIT_CODES.ok : EXIT_CODES.usage
}
