import type { Preview } from '../../contract/preview.ts'
import { EXIT_CODES, ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import type { CliContext, CommonOptions } from '../context.ts'
import { formatAgo } from '../format.ts'
import { table } from '../table.ts'
import { fitted, type Terminal } from '../terminal.ts'

export interface PreviewOptions extends CommonOptions {
  readonly repository?: string
  readonly commit?: string
  readonly yes?: boolean
}

export async function previewList({ project }: PreviewOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const { items } = await client.call('listPreviews', { query: { project } })
  if (terminal.isJson) terminal.json({ previews: items })
  if (items.length === 0)
    terminal.print(
      'No preview stands here. They are made by pull requests, where `shiplock webhook update WEBHOOK --previews ENVIRONMENT` turned them on.',
    )
  else {
    const rows = items.map((one) => [
      `#${one.number}`,
      one.environment ?? '',
      one.waitsFor === null ? one.state : `${one.state === 'waiting' ? '' : `${one.state}, `}${one.waitsFor.commit.slice(0, 12)} waits`,
      fitted(one.services.map(({ url }) => url).join(' '), 60),
      fitted(one.author, 20),
      fitted(one.title, 40),
    ])
    for (const line of table(['REQUEST', 'ENVIRONMENT', 'STATE', 'ADDRESS', 'AUTHOR', 'TITLE'], rows, terminal.colors.dim))
      terminal.print(line)
  }
  return EXIT_CODES.ok
}

export async function previewShow(given: string, options: PreviewOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const preview = await client.call('getPreview', { params: { number: numberOf(given) }, query: placeOf(options) })
  if (terminal.isJson) terminal.json(preview)
  show(preview, terminal)
  return EXIT_CODES.ok
}

/** What is approved is the commit that was shown, whatever is pushed meanwhile. */
export async function previewApprove(given: string, options: PreviewOptions, context: CliContext): Promise<number> {
  const { terminal, signal } = context
  const { client } = await context.connect()
  const number = numberOf(given)
  const preview = await client.call('getPreview', { params: { number }, query: placeOf(options) })
  const commit = preview.waitsFor?.commit
  if (commit === undefined) throw new ShiplockError('CONFLICT', `pull request #${number} waits for no approval`)
  if (options.commit !== undefined && !commit.startsWith(options.commit.toLowerCase())) {
    throw new ShiplockError('CONFLICT', `the commit that waits is ${commit.slice(0, 12)}, not ${printable(options.commit)}`, {
      hint: 'Look at what is there now, then approve that.',
    })
  }
  if (options.yes !== true && options.commit === undefined) {
    show(preview, terminal)
    if (!terminal.canAsk) {
      throw new ShiplockError('INPUT_INVALID', 'nobody is there who could confirm', {
        hint: `Add --commit ${commit.slice(0, 12)}, or --yes.`,
      })
    }
    if (!(await terminal.confirm(`Build and run commit ${commit.slice(0, 12)} here?`, signal))) return EXIT_CODES.canceled
  }
  const approved = await client.call('approvePreview', {
    params: { number },
    body: { ...placeOf(options), repository: preview.repository, commit },
  })
  if (terminal.isJson) terminal.json(approved)
  terminal.print(`${terminal.colors.green('✔')} commit ${commit.slice(0, 12)} of #${number} is approved; what is pushed after it is not`)
  return EXIT_CODES.ok
}

export async function previewRemove(given: string, options: PreviewOptions, { connect, terminal }: CliContext): Promise<number> {
  const { client } = await connect()
  const preview = await client.call('removePreview', { params: { number: numberOf(given) }, query: placeOf(options) })
  if (terminal.isJson) terminal.json(preview)
  terminal.print(`${terminal.colors.green('✔')} ${preview.environment} is being removed`)
  return EXIT_CODES.ok
}

const placeOf = ({ project, repository }: PreviewOptions) => ({ project, repository })

/** `7`, `#7` or `preview-7`. */
function numberOf(given: string): number {
  const digits = /^(?:#|preview-)?([1-9][0-9]{0,9})$/.exec(given)?.[1]
  if (digits === undefined) throw new ShiplockError('INPUT_INVALID', `${printable(given)} is not the number of a pull request`)
  return Number(digits)
}

function show(preview: Preview, { print, colors }: Terminal): void {
  const now = Date.now()
  const fact = (name: string, value: string) => print(`${colors.dim(name.padEnd(12))} ${value}`)
  fact('request', `#${preview.number} ${fitted(preview.title, 100)}`)
  fact('repository', fitted(preview.repository, 200))
  fact('author', `${fitted(preview.author, 60)}${preview.fork ? ', from a fork' : ''}`)
  fact('branch', fitted(preview.branch, 100))
  fact('state', preview.state === 'waiting' ? 'waits for an approval' : `${preview.state}, in ${preview.environment}`)
  fact('commit', preview.commit)
  for (const { service, url, status } of preview.services) fact('service', `${service} ${printable(url)} ${status ?? ''}`)
  if (preview.expiresAt !== null) fact('ends', preview.expiresAt)
  const { waitsFor } = preview
  if (waitsFor !== null) fact('to approve', `${waitsFor.commit} by ${fitted(waitsFor.author, 60)}, ${formatAgo(waitsFor.since, now)}`)
}
