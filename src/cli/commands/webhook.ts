import { parseDuration } from '../../config/duration.ts'
import type { Delivery, Webhook } from '../../contract/webhook.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, requireServiceName, scopeOf } from '../context.ts'
import { formatAgo, formatBytes } from '../format.ts'
import { table } from '../table.ts'
import { fitted, type Terminal } from '../terminal.ts'

export const PROVIDERS = ['github', 'gitlab', 'gitea'] as const

export interface WebhookOptions extends CommonOptions {
  readonly provider?: (typeof PROVIDERS)[number]
  readonly repository?: string
  readonly signing?: boolean
  /** Commander's reading of `--no-head-check`. */
  readonly headCheck?: boolean
  readonly apiUrl?: string
  readonly tokenFrom?: string
  readonly enable?: boolean
  readonly disable?: boolean
  readonly overlap?: string
  /** Name of the template; false = off. */
  readonly previews?: string | false
  readonly previewBase?: string
  readonly previewLabel?: string
  readonly previewDrafts?: boolean
  readonly previewForks?: 'never' | 'approve'
  readonly previewTtl?: string
  readonly previewMax?: string
}

/** Where the address and the secret go, per provider; also in docs/webhooks.md. */
const PASTE: Readonly<Record<Webhook['provider'], readonly string[]>> = {
  github: [
    'At GitHub: repository → Settings → Webhooks → Add webhook',
    'Payload URL = the address, Content type = application/json, Secret = the secret',
    'Events: just the push event (and pull requests, for previews)',
  ],
  gitlab: [
    'At GitLab: project → Settings → Webhooks → Add new webhook',
    'URL = the address, Secret token (or Signing token, if it begins with whsec_) = the secret',
    'Trigger: push events, tag push events (and merge requests, for previews)',
  ],
  gitea: [
    'At Gitea or Forgejo: repository → Settings → Webhooks → Add webhook → Gitea (Forgejo)',
    'Target URL = the address, HTTP method = POST, POST content type = application/json, Secret = the secret',
    'Trigger on: push events (for previews also “Pull Request” and “Pull Request Synchronized”, with --preview-label “Pull Request Labeled”)',
  ],
}

export async function webhookCreate(options: WebhookOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const connection = await context.connect()
  const service = await requireServiceName(undefined, options, connection)
  const provider = options.provider ?? providerOf(options.repository)
  const made = await connection.client.call('createWebhook', {
    body: {
      ...scopeOf(options),
      service,
      provider,
      ...(options.repository === undefined ? {} : { repository: options.repository }),
      ...(options.signing === true ? { signing: true } : {}),
      ...settingsOf(options, context),
    },
  })
  if (terminal.isJson) terminal.json(made)
  const { webhook, secret } = made
  terminal.print(`${terminal.colors.green('✔')} ${webhook.id}: pushes to ${printable(webhook.repository)} deploy ${webhook.service}`)
  showSecret(webhook.url, secret, terminal)
  for (const [index, line] of PASTE[webhook.provider].entries()) terminal.print(`  ${index + 1}. ${line}`)
  terminal.print(
    `  ${PASTE[webhook.provider].length + 1}. \`${terminal.program} webhook test ${webhook.id}\` shows whether it can be reached`,
  )
  return EXIT_CODES.ok
}

function showSecret(url: string, secret: string, terminal: Terminal): void {
  terminal.print('')
  terminal.print(`  address  ${url}`)
  terminal.print(`  secret   ${secret}`)
  terminal.print('')
  terminal.print('  The secret is shown this once.')
}

export async function webhookList(options: WebhookOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { project, service } = options
  const { items } = await client.call('listWebhooks', { query: { project, service, limit: 200 } })
  if (terminal.isJson) terminal.json({ webhooks: items })
  if (items.length === 0) terminal.print('No webhooks here. `shiplock webhook create -s SERVICE` makes one.')
  else {
    const rows = items.map((hook) => [
      hook.id,
      hook.service,
      hook.provider,
      hook.enabled ? 'on' : 'off',
      hook.hasApiToken ? 'yes' : 'no',
      fitted(hook.repository, 60),
    ])
    for (const line of table(['WEBHOOK', 'SERVICE', 'PROVIDER', '', 'STATUSES', 'REPOSITORY'], rows, terminal.colors.dim))
      terminal.print(line)
  }
  return EXIT_CODES.ok
}

export async function webhookShow(id: string, _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const hook = await client.call('getWebhook', { params: { id } })
  const { items } = await client.call('listDeliveries', { params: { id }, query: { limit: 5 } })
  if (terminal.isJson) terminal.json({ ...hook, deliveries: items })
  show(hook, terminal)
  if (items.length > 0) terminal.print('')
  for (const line of renderDeliveries(items, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

function show(hook: Webhook, { print, colors }: Terminal): void {
  const now = Date.now()
  const fact = (name: string, value: string) => print(`${colors.dim(name.padEnd(12))} ${value}`)
  fact('webhook', `${hook.id} (${hook.provider}${hook.enabled ? '' : ', turned off'})`)
  fact('service', `${hook.service} of ${hook.project}`)
  fact('address', hook.url)
  fact('repository', fitted(hook.repository, 200))
  const until = hook.previousSecretUntil === null ? '' : `; the one before is good until ${hook.previousSecretUntil.slice(0, 16)}Z`
  fact('secret', `${hook.rotatedAt === null ? 'as first made' : `rotated ${formatAgo(hook.rotatedAt, now)}`}${until}`)
  fact('statuses', hook.hasApiToken ? `sent to ${hook.apiUrl ?? 'the host’s public API'}` : 'not sent: no token')
  fact('previews', hook.previews === null ? 'none' : describePreviews(hook.previews))
  fact('heads', hook.headCheck === null ? 'not looked at' : printable(hook.headCheck.note ?? 'not looked at yet'))
}

export async function webhookUpdate(id: string, options: WebhookOptions, context: CliContext): Promise<number> {
  const { terminal } = context
  const { client } = await context.connect()
  const enabled = options.enable === true ? { enabled: true } : options.disable === true ? { enabled: false } : {}
  const repository = options.repository === undefined ? {} : { repository: options.repository }
  const hook = await client.call('updateWebhook', { params: { id }, body: { ...enabled, ...repository, ...settingsOf(options, context) } })
  if (terminal.isJson) terminal.json(hook)
  show(hook, terminal)
  return EXIT_CODES.ok
}

export async function webhookRotate(id: string, options: WebhookOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const overlapMs = options.overlap === undefined ? null : parseDuration(options.overlap)
  if (options.overlap !== undefined && overlapMs === null)
    throw new ShiplockError('INPUT_INVALID', '--overlap: a duration is needed, e.g. 24h')
  const body = overlapMs === null ? {} : { overlapSeconds: Math.round(overlapMs / 1000) }
  const made = await client.call('rotateWebhook', { params: { id }, body })
  if (terminal.isJson) terminal.json(made)
  const until = made.webhook.previousSecretUntil
  terminal.print(
    `${terminal.colors.green('✔')} ${id} has a new secret; the old one ${until === null ? 'ends now' : `is good until ${until.slice(0, 16)}Z`}`,
  )
  showSecret(made.webhook.url, made.secret, terminal)
  return EXIT_CODES.ok
}

export async function webhookDelete(ids: readonly string[], _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  for (const id of ids) {
    await client.call('deleteWebhook', { params: { id } })
    terminal.print(`${terminal.colors.green('✔')} ${printable(id)} removed`)
  }
  if (terminal.isJson) terminal.json({ removed: ids })
  return EXIT_CODES.ok
}

export async function webhookDeliveries(id: string, _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listDeliveries', { params: { id }, query: { limit: 50 } })
  if (terminal.isJson) terminal.json({ deliveries: items })
  if (items.length === 0) terminal.print('Nothing has arrived yet.')
  for (const line of renderDeliveries(items, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

function renderDeliveries(items: readonly Delivery[], { colors, columns }: Terminal): string[] {
  if (items.length === 0) return []
  const now = Date.now()
  const rows = items.map((delivery) => [
    delivery.id,
    formatAgo(delivery.receivedAt, now),
    fitted(delivery.event, 20),
    formatBytes(delivery.bytes),
    colorVerdict(delivery.verdict, colors),
    fitted([...delivery.deploymentIds, delivery.reason].join(' '), REASON_SHOWN),
  ])
  return table(['DELIVERY', 'CAME', 'EVENT', 'SIZE', 'VERDICT', 'WHY'], rows, colors.dim, columns)
}
/** Of a verdict's reason with the deployments that came of it. */
const REASON_SHOWN = 1000

function colorVerdict(verdict: Delivery['verdict'], colors: Terminal['colors']): string {
  if (verdict === 'queued') return colors.green(verdict)
  if (verdict === 'refused' || verdict === 'failed') return colors.red(verdict)
  return verdict === 'received' ? colors.cyan(verdict) : colors.dim(verdict)
}

export async function webhookReplay(
  id: string,
  delivery: string,
  _options: CommonOptions,
  { connect, terminal }: CliContext,
): Promise<number> {
  const { client } = await connect()
  const made = await client.call('replayDelivery', { params: { id, delivery } })
  if (terminal.isJson) terminal.json(made)
  terminal.print(
    `${terminal.colors.green('✔')} ${made.id} repeats ${delivery}; \`${terminal.program} webhook deliveries ${id}\` shows what comes of it`,
  )
  return EXIT_CODES.ok
}

export async function webhookTest(id: string, _options: CommonOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const result = await client.call('testWebhook', { params: { id } })
  if (terminal.isJson) terminal.json(result)
  const { colors } = terminal
  terminal.print(`${result.accepted ? colors.green('✔') : colors.red('✘')} ${printable(result.url)}: ${printable(result.message)}`)
  return result.accepted ? EXIT_CODES.ok : EXIT_CODES.platform
}

function settingsOf(options: WebhookOptions, { env }: CliContext) {
  const { apiUrl, tokenFrom, headCheck } = options
  if (tokenFrom !== undefined && !env[tokenFrom]) {
    throw new ShiplockError('INPUT_INVALID', `--token-from: ${printable(tokenFrom)} is not set in the environment of this command`)
  }
  return {
    ...(apiUrl === undefined ? {} : { apiUrl }),
    ...(tokenFrom === undefined ? {} : { apiToken: env[tokenFrom] ?? '' }),
    ...(headCheck === false ? { checksHeads: false } : {}),
    ...previewsOf(options),
  }
}

function previewsOf(options: WebhookOptions) {
  const { previews, previewBase, previewLabel, previewDrafts, previewForks, previewTtl, previewMax } = options
  if (previews === false) return { previews: null }
  const ttlMs = previewTtl === undefined ? undefined : parseDuration(previewTtl)
  if (ttlMs === null) throw new ShiplockError('INPUT_INVALID', '--preview-ttl: a duration is needed, e.g. 7d')
  const rules = {
    ...(previewBase === undefined ? {} : { baseBranch: previewBase }),
    ...(previewLabel === undefined ? {} : { label: previewLabel }),
    ...(previewDrafts === false ? { drafts: false } : {}),
    ...(previewForks === undefined ? {} : { forks: previewForks }),
    ...(ttlMs === undefined ? {} : { ttlSeconds: Math.round(ttlMs / 1000) }),
    ...(previewMax === undefined ? {} : { max: Number(previewMax) }),
  }
  if (previews !== undefined) return { previews: { template: previews, ...rules } }
  if (Object.keys(rules).length > 0)
    throw new ShiplockError('INPUT_INVALID', '--previews ENVIRONMENT is missing: all its rules are set together')
  return {}
}

function describePreviews({ template, baseBranch, label, drafts, forks, ttlSeconds, max }: NonNullable<Webhook['previews']>): string {
  const rules = [
    ...(baseBranch === null ? [] : [`into ${printable(baseBranch)}`]),
    ...(label === null ? [] : [`with label ${printable(label)}`]),
    ...(drafts ? [] : ['no drafts']),
    forks === 'never' ? 'no forks' : 'forks by approval',
    `for ${Math.round(ttlSeconds / 360) / 10} h after the last push`,
    `at most ${max}`,
  ]
  return `from ${template}: ${rules.join(', ')}`
}

function providerOf(repository: string | undefined): Webhook['provider'] {
  const found = PROVIDERS.find((provider) => repository?.includes(`${provider}.com`))
  if (found !== undefined) return found
  throw new ShiplockError('INPUT_INVALID', 'which git host? --provider is missing', {
    hint: `One of ${PROVIDERS.join(', ')}; gitea is Forgejo, too.`,
  })
}
