import type { Command } from 'commander'
import type { CliContext, CommonOptions } from './context.ts'

export type Run<Options> = (options: Options, context: CliContext, args: readonly string[]) => Promise<number>
/** Makes of a command what commander calls. */
export type Runner = <Options extends CommonOptions>(work: Run<Options>) => (...given: unknown[]) => Promise<void>

/** The options that every command has. */
export function common(command: Command): Command {
  return command
    .option('-p, --project <name>', "project (default: the token's, or the server's)")
    .option('-e, --environment <name>', "environment (default: the token's, or the server's)")
    .option('-s, --service <name>', 'service')
    .option('--json', 'print JSON: one document, or a line each for streams')
    .option('--no-color', 'print without colours (as NO_COLOR does)')
}
