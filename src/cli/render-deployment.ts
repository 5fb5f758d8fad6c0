import type { Deployment, SwapReceipt } from '../contract/deployment.ts'
import { printable } from '../core/printable.ts'
import { hasServed } from './follow-deployment.ts'
import { count, formatTook } from './format.ts'
import { renderStage } from './pipeline-view.ts'
import { renderFailure } from './render-error.ts'
import { fitted, type Terminal } from './terminal.ts'

/** What the edge saw during the swap, in one line. */
export function renderReceipt(receipt: SwapReceipt): string {
  const parts = [
    `${count(receipt.requests, 'request')}, ${receipt.failures} failed`,
    `longest wait ${formatTook(receipt.longestStallMs)}`,
    `${count(receipt.drainedConnections, 'connection')} drained, ${receipt.cutConnections} cut`,
    `flip ${receipt.flipMs.toFixed(receipt.flipMs < 10 ? 1 : 0)} ms`,
    ...(receipt.gapMs === null ? [] : [`nothing served for ${formatTook(receipt.gapMs)}`]),
  ]
  return parts.join(' · ')
}

/** The last words on a deployment that was followed. */
export function renderResult(deployment: Deployment, terminal: Terminal): string[] {
  const { colors } = terminal
  if (deployment.status === 'failed' && deployment.error !== null) {
    return [
      '',
      ...renderFailure(deployment.error, terminal),
      `  ${colors.dim('What was live before was left as it was.')} Details: ${terminal.program} status ${deployment.service}`,
    ]
  }
  if (!hasServed(deployment))
    return ['', `  ${colors.yellow('■')} ${deployment.id}: ${deployment.status}. ${printable(deployment.statusReason)}`]
  const label = deployment.release === null ? deployment.service : `${deployment.service} v${deployment.release}`
  const took = tookMs(deployment)
  return [
    '',
    `  ${colors.green('✔')} ${colors.bold(label)} is live${took === null ? '' : ` after ${formatTook(took)}`}`,
    `    ${colors.cyan(deployment.url)}`,
    ...(deployment.receipt === null ? [] : [`    ${colors.dim(`Swap: ${renderReceipt(deployment.receipt)}`)}`]),
    ...deployment.warnings.map((warning) => `    ${colors.yellow('!')} ${fitted(warning, 300)}`),
    ...(deployment.settled || !hasWayBack(deployment) || deployment.bakeMs === null || deployment.bakeMs === 0
      ? []
      : [`    ${colors.dim(`It is watched for ${formatTook(deployment.bakeMs)}; on trouble the version before comes back by itself.`)}`]),
  ]
}

export function renderNext(deployment: Deployment, { colors, program }: Pick<Terminal, 'colors' | 'program'>): string[] {
  if (!hasServed(deployment)) return []
  return [
    '',
    `  ${colors.dim('Try next:')}  curl ${deployment.url}`,
    `             ${program} logs ${deployment.service} -f`,
    `             ${program} status ${deployment.service}`,
    ...(hasWayBack(deployment) ? [`             ${program} rollback -s ${deployment.service}`] : []),
  ]
}

/** Something served before it, so its drain had something to do. */
function hasWayBack(deployment: Deployment): boolean {
  return deployment.kind === 'rollback' || deployment.stages.some((stage) => stage.stage === 'drain' && stage.outcome !== 'skipped')
}

/** From the claim until the swap was drained, or the end. */
function tookMs(deployment: Deployment): number | null {
  const start = deployment.startedAt
  const swap = deployment.stages.find((stage) => stage.stage === 'swap')?.finishedAt ?? deployment.settledAt
  return start === null || swap === null ? null : Date.parse(swap) - Date.parse(start)
}

/** Stage by stage, as far as it came. */
export function renderLedger(deployment: Deployment, terminal: Terminal): string[] {
  return deployment.stages.map((stage) => renderStage(stage, terminal))
}

export function describeSource(deployment: Pick<Deployment, 'revision' | 'source'>): string {
  const { revision, source } = deployment
  if (revision?.kind === 'git') return `${revision.commit.slice(0, 12)} ${fitted(revision.message.split('\n')[0] ?? '', 60)}`
  if (revision?.kind === 'image') return printable(revision.reference)
  if (source?.kind === 'git') return printable(source.ref === null ? source.url : `${source.url}#${source.ref}`)
  if (source?.kind === 'upload')
    return `upload${source.label === null ? '' : ` of ${fitted(source.label, 40)}`} ${source.digest.slice(7, 19)}`
  if (source?.kind === 'image') return printable(source.reference)
  return revision?.kind === 'upload' ? `upload ${revision.digest.slice(7, 19)}` : ''
}
