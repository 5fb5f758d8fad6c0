import type { Command } from 'commander'
import { deployKeyCreate, deployKeyPin, deployKeyRemove, deployKeyShow } from './commands/deploy-key.ts'
import { envImport, envList, envSet, envUnset, secretSet } from './commands/env.ts'
import { gitTokenList, gitTokenRemove, gitTokenSet } from './commands/git-token.ts'
import { serverKey, serverRotateKey } from './commands/server-key.ts'
import { common, type Runner } from './common-options.ts'

/** Commands about variables, secrets and what opens private repositories. */
export function addSecrets(program: Command, run: Runner): void {
  addVariables(program, run)
  addSecretVariables(program, run)
  addDeployKeys(program, run)
  addGitTokens(program, run)
}

function addVariables(program: Command, run: Runner): void {
  const env = program.command('env').description('variables of a project, environment or service')
  common(env.command('list'))
    .description('names and scopes')
    .option('--show', 'the values of plain variables too, for who may set them; never those of secrets')
    .action(run<Parameters<typeof envList>[0]>((options, context) => envList(options, context)))
  common(env.command('set').argument('<pairs...>', 'NAME=value, or NAME to take it from this environment'))
    .description('set variables; without -e and -s for the whole project')
    .option('--secret', 'hide it in logs, and never show what it changed from')
    .option('--literal', '${NAME} in a value is that text, not a reference')
    .option('--for-previews', 'reaches previews as well')
    .action(run((options, context, args) => envSet(args, options, context)))
  common(env.command('import').argument('<file>', '.env file; - for a pipe'))
    .description('set every variable of a .env file')
    .option('--secret', 'all of them are secrets')
    .option('--literal', '${NAME} in a value is that text, not a reference')
    .option('--for-previews', 'reaches previews as well')
    .action(run((options, context, args) => envImport(args[0] ?? '', options, context)))
  common(env.command('unset').argument('<names...>'))
    .description('remove variables')
    .action(run((options, context, args) => envUnset(args, options, context)))
}

function addSecretVariables(program: Command, run: Runner): void {
  const secret = program.command('secret').description('variables that are hidden in logs')
  common(secret.command('list'))
    .description('names, scopes and fingerprints; values are never shown')
    .action(run((options, context) => envList({ ...options, secret: true }, context)))
  common(secret.command('set').argument('<names...>', 'names alone; the value comes from a pipe or is asked for'))
    .description('set secrets; without -e and -s for the whole project')
    .option('--file <path>', 'the value is what this file holds')
    .option('--from-env', 'the values are in the environment of this command')
    .option('--literal', '${NAME} in a value is that text, not a reference')
    .option('--for-previews', 'reaches previews as well')
    .action(run<Parameters<typeof secretSet>[1]>((options, context, args) => secretSet(args, options, context)))
  common(secret.command('import').argument('<file>', '.env file; - for a pipe'))
    .description('set every variable of a .env file as a secret')
    .option('--literal', '${NAME} in a value is that text, not a reference')
    .option('--for-previews', 'reaches previews as well')
    .action(run((options, context, args) => envImport(args[0] ?? '', { ...options, secret: true }, context)))
  common(secret.command('unset').argument('<names...>'))
    .description('remove secrets')
    .action(run((options, context, args) => envUnset(args, options, context)))
}

function addDeployKeys(program: Command, run: Runner): void {
  const key = program.command('deploy-key').description('the ssh key with which a service fetches a private repository')
  common(key.command('create'))
    .description('draw one and print its public part')
    .option('--replace', 'in place of the one there is')
    .action(run<Parameters<typeof deployKeyCreate>[0]>((options, context) => deployKeyCreate(options, context)))
  common(key.command('show'))
    .description('its public part and the pinned hosts')
    .action(run((options, context) => deployKeyShow(options, context)))
  common(key.command('pin').argument('[host]', 'host or host:port; left out: that of the source'))
    .description('show the keys of a git host and pin them')
    .option('--fingerprint <sha256...>', 'what the host publishes: pin those without a question')
    .action(run<Parameters<typeof deployKeyPin>[1]>((options, context, args) => deployKeyPin(args[0], options, context)))
  common(key.command('remove'))
    .description('forget it')
    .action(run((options, context) => deployKeyRemove(options, context)))
}

function addGitTokens(program: Command, run: Runner): void {
  const token = program.command('git-token').description('tokens for https repositories, one per host of a project')
  common(token.command('list'))
    .description('hosts with a token')
    .action(run((options, context) => gitTokenList(options, context)))
  common(token.command('set').argument('<host>', 'host or host:port'))
    .description('set it; the token comes from a pipe or is asked for')
    .option('--username <name>', 'user name that the host expects beside the token')
    .action(run<Parameters<typeof gitTokenSet>[1]>((options, context, args) => gitTokenSet(args[0] ?? '', options, context)))
  common(token.command('remove').argument('<host>'))
    .description('forget it')
    .action(run((options, context, args) => gitTokenRemove(args[0] ?? '', options, context)))
}

/** The key that all of it is sealed with. */
export function addServerKeys(server: Command, run: Runner): void {
  common(server.command('key'))
    .description('which key secrets are sealed with, and how far a rotation is')
    .action(run((options, context) => serverKey(options, context)))
  common(server.command('rotate-key'))
    .description('seal every secret with a new key while the server works')
    .option('-d, --detach', 'begin it and return')
    .action(run<Parameters<typeof serverRotateKey>[0]>((options, context) => serverRotateKey(options, context)))
}
