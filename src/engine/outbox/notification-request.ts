import { createHmac } from 'node:crypto'
import type { DueNotification } from '../../store/sql/outbox-queue.ts'

/** What a deployment's notification says; the columns of `notifications.body`. */
type Facts = Readonly<Record<string, unknown>>

const WORDS: Readonly<Record<string, { readonly icon: string; readonly verb: string; readonly color: string }>> = {
  'deployment.running': { icon: '🟢', verb: 'runs', color: '#2e9e5b' },
  'deployment.failed': { icon: '🔴', verb: 'failed', color: '#c9302c' },
  'deployment.rolled_back': { icon: '↩️', verb: 'was rolled back', color: '#d9822b' },
  test: { icon: '🔔', verb: 'test', color: '#3b82c4' },
}

export interface NotificationRequest {
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** Signed as Standard Webhooks are: HMAC-SHA256 over `<id>.<timestamp>.<body>`, the key being the base64 after `whsec_`. */
export function webhookRequest(id: string, facts: Facts, url: string | null, secret: string | null, now: number): NotificationRequest {
  const body = JSON.stringify({ id, ...facts, url })
  const timestamp = String(Math.floor(now / 1000))
  const headers = {
    'content-type': 'application/json',
    'webhook-id': id,
    'webhook-timestamp': timestamp,
    'x-shiplock-event': textOf(facts.type),
  }
  if (secret === null) return { headers, body }
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { headers: { ...headers, 'webhook-signature': `v1,${signature}` }, body }
}

/** As Slack's incoming webhooks take it; Mattermost, Rocket.Chat, Zulip and Discord (`/slack`) do, too. */
export function slackRequest(facts: Facts, url: string | null): NotificationRequest {
  const { icon, verb, color } = WORDS[textOf(facts.type)] ?? { icon: '•', verb: textOf(facts.type), color: '#888888' }
  const release = typeof facts.release === 'number' ? ` v${facts.release}` : ''
  const what = textOf(facts.service) === '' ? 'Shiplock' : `${textOf(facts.service)}${release} in ${textOf(facts.environment)}`
  const commit = textOf(facts.commit) === '' ? '' : `\n${textOf(facts.commit).slice(0, 12)} ${textOf(facts.commitMessage)}`
  const text = `${icon} *${escaped(what)}* ${verb}`
  const more = `${escaped(textOf(facts.message))}${escaped(commit)}${url === null ? '' : `\n<${url}>`}`
  return {
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ text, attachments: [{ color, text: more, fallback: text }] }),
  }
}

/** Slack's three control characters: nobody's commit message mentions a channel or makes a link. */
function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

export function notificationRequest(
  due: Pick<DueNotification, 'id' | 'kind' | 'body'>,
  secret: string | null,
  urlOf: (host: string) => string,
  now: number,
): NotificationRequest {
  const { host, ...facts } = due.body
  const url = typeof host === 'string' ? urlOf(host) : null
  return due.kind === 'slack' ? slackRequest(facts, url) : webhookRequest(due.id, facts, url, secret, now)
}
