import { type Command, InvalidArgumentError, Option } from 'commander'
import { ROLES } from '../domain/access.ts'
import { audit } from './commands/audit.ts'
import { environmentBranch, environmentCreate, environmentList } from './commands/environment.ts'
import { memberAdd, memberList, memberRemove, memberRole } from './commands/member.ts'
import { projectCreate, projectDelete, projectLimits, projectList } from './commands/project.ts'
import { environmentDelete, type RemoveOptions, serviceRemove } from './commands/remove.ts'
import { tokenCreate, tokenList, tokenRevoke, tokenShow } from './commands/token.ts'
import { common, type Runner } from './common-options.ts'

/** Commands about who may do what, where. */
export function addAccess(program: Command, run: Runner): void {
  addProjects(program, run)
  addEnvironments(program, run)
  addServices(program, run)
  addMembers(program, run)
  addTokens(program, run)
  common(program.command('audit'))
    .description('every change: who, what, when, from where')
    .option('--actor <name>', 'of one member or token')
    .option('--action <action>', 'e.g. token.create, or token for all of a kind')
    .option('--since <time>', 'ISO 8601, e.g. 2026-01-31T12:00:00Z')
    .option('-n, --lines <count>', 'how many, the newest', parseLines, LINES_DEFAULT)
    .action(run<Parameters<typeof audit>[0]>((options, context) => audit(options, context)))
}

function limits(command: Command): Command {
  return command
    .option('--retention <n>', 'releases kept beside the live one')
    .option('--services <n>', 'services at most')
    .option('--environments <n>', 'environments at most')
    .option('--concurrent-builds <n>', 'deployments in progress at once')
    .option('--previews <n>', 'preview environments at once')
}

function addProjects(program: Command, run: Runner): void {
  const project = program.command('project').description('projects: what belongs together and is kept apart from the rest')
  common(project.command('list'))
    .description('projects with their limits')
    .action(run((options, context) => projectList(options, context)))
  limits(common(project.command('create').argument('<name>')))
    .description('create one')
    .action(run<Parameters<typeof projectCreate>[1]>((options, context, args) => projectCreate(args[0] ?? '', options, context)))
  limits(common(project.command('limits').argument('<name>')))
    .description('show its limits, or change those that are named')
    .option('--none', 'lift all others')
    .action(run<Parameters<typeof projectLimits>[1]>((options, context, args) => projectLimits(args[0] ?? '', options, context)))
  common(project.command('delete').argument('<name>'))
    .description('delete one in which nothing runs, with all it holds')
    .option('-y, --yes', 'do not ask')
    .action(run<Parameters<typeof projectDelete>[1]>((options, context, args) => projectDelete(args[0] ?? '', options, context)))
}

function addEnvironments(program: Command, run: Runner): void {
  const environment = program.command('environment').description('environments of a project: production, staging …')
  common(environment.command('list'))
    .description('environments with their branches')
    .action(run((options, context) => environmentList(options, context)))
  common(environment.command('create').argument('<name>'))
    .description('create one')
    .option('--branch <branch>', 'pushes to it deploy there')
    .action(run<Parameters<typeof environmentCreate>[1]>((options, context, args) => environmentCreate(args[0] ?? '', options, context)))
  common(environment.command('branch').argument('<name>').argument('[branch]', 'left out: as the configuration says'))
    .description('say which branch deploys there')
    .action(run((options, context, args) => environmentBranch(args, options, context)))
  removing(common(environment.command('delete').argument('<name>')))
    .description('remove one with all its services and variables')
    .option('--confirm <name>', 'its name again')
    .action(run<RemoveOptions>((options, context, args) => environmentDelete(args[0] ?? '', options, context)))
}

function removing(command: Command): Command {
  return command.option('--cancel', 'cancel what waits or is under way there').option('-d, --detach', 'do not wait until it is gone')
}

function addServices(program: Command, run: Runner): void {
  const service = program.command('service').description('services of a project; a first deployment makes one')
  removing(common(service.command('remove').argument('<service>')))
    .description('take one out of an environment: route, instances, releases and deployments go')
    .option('-y, --yes', 'do not ask')
    .action(run<RemoveOptions>((options, context, args) => serviceRemove(args[0] ?? '', options, context)))
}

const roleOption = () => new Option('--role <role>', 'what they may').choices(ROLES)

function addMembers(program: Command, run: Runner): void {
  const member = program.command('member').description('people of a project and their roles')
  common(member.command('list'))
    .description('members with their roles')
    .action(run((options, context) => memberList(options, context)))
  common(member.command('add').argument('<name>'))
    .description('add one; a token is made for them afterwards')
    .addOption(roleOption().default('developer'))
    .action(run<Parameters<typeof memberAdd>[1]>((options, context, args) => memberAdd(args[0] ?? '', options, context)))
  common(member.command('role').argument('<name>'))
    .description('change the role, and what all their tokens may')
    .addOption(roleOption().makeOptionMandatory())
    .action(run<Parameters<typeof memberRole>[1]>((options, context, args) => memberRole(args[0] ?? '', options, context)))
  common(member.command('remove').argument('<name>'))
    .description('remove one; their tokens end at once')
    .action(run((options, context, args) => memberRemove(args[0] ?? '', options, context)))
}

function addTokens(program: Command, run: Runner): void {
  const token = program.command('token').description('what people and machines prove themselves with')
  common(token.command('create').argument('<name>'))
    .description('make one and show it this once; with -e for one environment only')
    .option('--member <name>', "whose it is; it has the member's role")
    .addOption(roleOption())
    .option('--verbs <verbs>', "of the role's verbs only these, with commas between them")
    .option('--expires <duration>', 'e.g. 90d; left out: no end')
    .option('--server', 'for the whole server instead of a project')
    .action(run<Parameters<typeof tokenCreate>[1]>((options, context, args) => tokenCreate(args[0] ?? '', options, context)))
  common(token.command('list'))
    .description('tokens with their rights and last use; never the tokens themselves')
    .action(run((options, context) => tokenList(options, context)))
  common(token.command('show'))
    .description('what the token of this command may')
    .action(run((options, context) => tokenShow(options, context)))
  common(token.command('revoke').argument('<ids...>'))
    .description('end tokens at once')
    .action(run((options, context, args) => tokenRevoke(args, options, context)))
}

const LINES_DEFAULT = 50
const LINES_MAX = 10_000

function parseLines(given: string): number {
  const number = Number(given)
  if (!/^\d{1,6}$/.test(given) || number < 1 || number > LINES_MAX)
    throw new InvalidArgumentError(`a whole number up to ${LINES_MAX} is needed`)
  return number
}
