import type { Service, ServiceDetail } from '../../contract/service.ts'
import { EXIT_CODES } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type CliContext, type CommonOptions, scopeOf } from '../context.ts'
import { formatAgo, formatTook } from '../format.ts'
import { describeSource, renderLedger, renderReceipt } from '../render-deployment.ts'
import { renderFailure } from '../render-error.ts'
import { table } from '../table.ts'
import { fitted, type Terminal } from '../terminal.ts'

/** `shiplock status` and `shiplock services`: all there is, or one service in full. */
export async function status(named: string | undefined, options: CommonOptions, context: CliContext): Promise<number> {
  const { client } = await context.connect()
  const { terminal } = context
  const name = named ?? options.service
  if (name !== undefined) {
    const detail = await client.call('getService', { params: { service: name }, query: scopeOf(options) })
    if (terminal.isJson) terminal.json(detail)
    for (const line of renderService(detail, terminal)) terminal.print(line)
    return EXIT_CODES.ok
  }
  const services: Service[] = []
  let cursor: string | null = null
  do {
    const page: { items: Service[]; next: string | null } = await client.call('listServices', {
      query: { ...scopeOf(options), limit: 200, ...(cursor === null ? {} : { cursor }) },
    })
    services.push(...page.items)
    cursor = page.next
  } while (cursor !== null)
  if (terminal.isJson) terminal.json({ services })
  for (const line of renderServices(services, terminal)) terminal.print(line)
  return EXIT_CODES.ok
}

export function renderServices(services: readonly Service[], { colors }: Pick<Terminal, 'colors'>): string[] {
  if (services.length === 0) return ['No service yet. `shiplock up DIR` deploys one.']
  const now = Date.now()
  const rows = services.map((service) => [
    service.service,
    service.project === 'default' ? service.environment : `${service.project}/${service.environment}`,
    service.live === null ? colors.dim('nothing live') : `v${service.live.release ?? '?'}`,
    instancesOf(service),
    service.lastDeployment === null
      ? ''
      : `${colorStatus(service.lastDeployment.status, colors)} ${formatAgo(service.lastDeployment.createdAt, now)}`,
    service.url,
    service.hold === null ? '' : colors.yellow('held'),
  ])
  return table(['SERVICE', 'ENVIRONMENT', 'LIVE', 'INSTANCES', 'LAST DEPLOYMENT', 'URL', ''], rows, colors.dim)
}

function instancesOf({ instances }: Service): string {
  const parts = [`${instances.serving} serving`]
  if (instances.starting > 0) parts.push(`${instances.starting} starting`)
  if (instances.standby > 0) parts.push(`${instances.standby} standby`)
  return parts.join(', ')
}

export function colorStatus(word: string, colors: Terminal['colors']): string {
  if (word === 'running') return colors.green(word)
  if (word === 'failed') return colors.red(word)
  if (word === 'canceled' || word === 'rolled_back') return colors.yellow(word)
  return word === 'superseded' ? colors.dim(word) : colors.cyan(word)
}

function renderService(service: ServiceDetail, terminal: Terminal): string[] {
  const { colors } = terminal
  const live = service.liveDeployment
  const latest = service.latestDeployment
  const now = Date.now()
  const field = (label: string, value: string) => `${colors.dim(label.padEnd(12))}${value}`
  return [
    `${colors.bold(service.service)}  ${colors.dim(`${service.project}/${service.environment}`)}`,
    field('URL', colors.cyan(service.url)),
    field(
      'Live',
      service.live === null
        ? 'nothing'
        : `v${service.live.release ?? '?'}${service.live.since === null ? '' : ` since ${formatAgo(service.live.since, now)}`}`,
    ),
    ...(live === null ? [] : [field('Source', describeSource(live))]),
    ...(live?.detected == null ? [] : [field('Config', printable(live.detected))]),
    ...(service.pushes === null ? [] : [field('Pushes', describePushes(service.pushes))]),
    ...(service.hold === null
      ? []
      : [
          field(
            'Hold',
            colors.yellow(
              `${printable(service.hold.reason)} (${printable(service.hold.by)}, ${formatAgo(service.hold.since, now)}); automatic deployments wait until the next manual one`,
            ),
          ),
        ]),
    ...(live?.receipt == null ? [] : [field('Swap', renderReceipt(live.receipt))]),
    '',
    ...renderInstances(service, terminal),
    ...(latest === null
      ? []
      : [
          '',
          `${colors.dim('Last deployment')}  ${latest.id}  ${colorStatus(latest.status, colors)}  ${printable(latest.statusReason)}`,
          ...renderLedger(latest, terminal),
          ...latest.warnings.map((warning) => `  ${colors.yellow('!')} ${printable(warning)}`),
          ...(latest.error === null ? [] : renderFailure(latest.error, terminal)),
        ]),
    ...(latest?.startedAt == null || latest.settledAt === null
      ? []
      : [
          colors.dim(
            `  ${latest.trigger.kind} by ${printable(latest.trigger.actor)}, settled after ${formatTook(Date.parse(latest.settledAt) - Date.parse(latest.startedAt))}`,
          ),
        ]),
  ]
}

/** `to main that change api/** deploy; tags v* too` */
function describePushes({ branch, tags, watch, queue }: NonNullable<ServiceDetail['pushes']>): string {
  const paths = watch.length === 0 ? '' : ` that change ${fitted(watch.join(', '), 60)}`
  return [
    `to ${branch === null ? 'the default branch' : fitted(branch, 60)}${paths} deploy`,
    ...(tags === null ? [] : [`tags ${fitted(tags, 40)} too`]),
    ...(queue === 'latest' ? ['the newest takes the place of those that wait'] : []),
  ].join('; ')
}

function renderInstances(service: ServiceDetail, { colors }: Terminal): string[] {
  if (service.instanceList.length === 0) return [colors.dim('no instances')]
  const rows = service.instanceList.map((instance) => [
    instance.id,
    `v${instance.release}`,
    instance.state === 'serving' ? colors.green(instance.state) : instance.state,
    instance.address ?? '',
    `${instance.restarts}`,
  ])
  return table(['INSTANCE', 'RELEASE', 'STATE', 'ADDRESS', 'RESTARTS'], rows, colors.dim)
}
