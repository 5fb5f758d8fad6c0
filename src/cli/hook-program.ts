import { type Command, Option } from 'commander'
import { notifyAdd, notifyList, notifyRemove, notifyTest } from './commands/notify.ts'
import { type PreviewOptions, previewApprove, previewList, previewRemove, previewShow } from './commands/preview.ts'
import {
  PROVIDERS,
  webhookCreate,
  webhookDelete,
  webhookDeliveries,
  webhookList,
  webhookReplay,
  webhookRotate,
  webhookShow,
  webhookTest,
  webhookUpdate,
} from './commands/webhook.ts'
import { common, type Runner } from './common-options.ts'

/** Commands about what makes deployments happen by themselves, and who is told of them. */
export function addHooks(program: Command, run: Runner): void {
  addWebhooks(program, run)
  addNotifications(program, run)
  addPreviews(program, run)
}

function settings(command: Command): Command {
  return command
    .option('--repository <url>', 'git address that its pushes deploy (default: where the service came from last)')
    .option('--api-url <url>', 'API of the git host, where it is not its public service, e.g. https://git.example.com/api/v1')
    .option('--token-from <variable>', 'environment variable that holds a token of the git host: commit statuses are then sent')
    .option('--no-head-check', 'do not look at the branches for pushes that never arrived')
    .option('--previews <environment>', 'pull requests get environments of their own, with the variables of this one but not its secrets')
    .option('--no-previews', 'they do not (any more)')
    .option('--preview-base <branch>', 'only requests into this branch')
    .option('--preview-label <label>', 'only requests with this label')
    .option('--no-preview-drafts', 'no drafts')
    .addOption(new Option('--preview-forks <rule>', 'requests of forks (default: approve, each commit)').choices(['never', 'approve']))
    .option('--preview-ttl <duration>', 'how long after the last push (default: 7d)')
    .option('--preview-max <count>', 'at once in the project (default: 10)')
}

function addWebhooks(program: Command, run: Runner): void {
  const webhook = program.command('webhook').description('deploy on push: GitHub, GitLab, Gitea and Forgejo')
  settings(common(webhook.command('create')))
    .description('make one for a service; prints its address and secret, and where they go')
    .addOption(new Option('--provider <host>', 'the git host; gitea is Forgejo and Gogs, too').choices(PROVIDERS))
    .option('--signing', 'GitLab: a signing token in place of a secret token')
    .action(run<Parameters<typeof webhookCreate>[0]>((options, context) => webhookCreate(options, context)))
  common(webhook.command('list'))
    .description('webhooks of a project, or with -s of a service')
    .action(run((options, context) => webhookList(options, context)))
  common(webhook.command('show').argument('<webhook>'))
    .description('one with its last deliveries and the look at the branches')
    .action(run((options, context, args) => webhookShow(args[0] ?? '', options, context)))
  settings(common(webhook.command('update').argument('<webhook>')))
    .description('change what is named, keep the rest')
    .option('--enable', 'take deliveries again')
    .option('--disable', 'refuse deliveries')
    .action(run<Parameters<typeof webhookUpdate>[1]>((options, context, args) => webhookUpdate(args[0] ?? '', options, context)))
  common(webhook.command('rotate').argument('<webhook>'))
    .description('draw a new secret; the old one stays good for a while')
    .option('--overlap <duration>', 'how long (default: 24h); 0s ends it at once')
    .action(run<Parameters<typeof webhookRotate>[1]>((options, context, args) => webhookRotate(args[0] ?? '', options, context)))
  common(webhook.command('delete').argument('<webhooks...>'))
    .description('remove it with its deliveries')
    .action(run((options, context, args) => webhookDelete(args, options, context)))
  common(webhook.command('deliveries').argument('<webhook>'))
    .description('what came, what it did and why')
    .action(run((options, context, args) => webhookDeliveries(args[0] ?? '', options, context)))
  common(webhook.command('replay').argument('<webhook>').argument('<delivery>'))
    .description('decide a delivery again, as if it came now')
    .action(run((options, context, args) => webhookReplay(args[0] ?? '', args[1] ?? '', options, context)))
  common(webhook.command('test').argument('<webhook>'))
    .description('send a signed ping to its address, as the git host would')
    .action(run((options, context, args) => webhookTest(args[0] ?? '', options, context)))
}

function addPreviews(program: Command, run: Runner): void {
  const preview = program.command('preview').description('environments that follow a pull or merge request')
  const named = (command: Command) => common(command).option('--repository <url>', 'where two repositories have a request of that number')
  named(preview.command('list'))
    .description('previews, and commits of forks that wait for an approval')
    .action(run<PreviewOptions>((options, context) => previewList(options, context)))
  named(preview.command('show').argument('<number>'))
    .description('one with its addresses')
    .action(run<PreviewOptions>((options, context, args) => previewShow(args[0] ?? '', options, context)))
  named(preview.command('approve').argument('<number>'))
    .description('let one commit of a fork be built and run here')
    .option('--commit <id>', 'only if this one waits')
    .option('-y, --yes', 'do not ask')
    .action(run<PreviewOptions>((options, context, args) => previewApprove(args[0] ?? '', options, context)))
  named(preview.command('remove').argument('<number>'))
    .description('remove one before its request is closed; the next push makes it again')
    .action(run<PreviewOptions>((options, context, args) => previewRemove(args[0] ?? '', options, context)))
}

function addNotifications(program: Command, run: Runner): void {
  const notify = program.command('notify').description('tell others about deployments that run, fail or are rolled back')
  common(notify.command('add').argument('<url>', 'URL, or the name of an environment variable that holds it'))
    .description('tell an address: signed JSON, or with --slack what Slack and its like understand')
    .option('--slack', 'an incoming webhook of Slack, Mattermost, Rocket.Chat, Zulip or Discord (…/slack)')
    .option('--name <name>', 'name for people')
    .option('--about <words>', 'of running,failed,rolled_back (default: all)')
    .action(run<Parameters<typeof notifyAdd>[1]>((options, context, args) => notifyAdd(args[0] ?? '', options, context)))
  common(notify.command('list'))
    .description('who is told, and what came of it last')
    .action(run((options, context) => notifyList(options, context)))
  common(notify.command('remove').argument('<targets...>'))
    .description('stop telling')
    .action(run((options, context, args) => notifyRemove(args, options, context)))
  common(notify.command('test').argument('<target>'))
    .description('send one now')
    .action(run((options, context, args) => notifyTest(args[0] ?? '', options, context)))
}
