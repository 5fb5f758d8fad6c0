import type { Clock } from '../../core/clock.ts'
import { giteaWebhook } from './gitea.ts'
import { githubWebhook } from './github.ts'
import { gitlabWebhook } from './gitlab.ts'
import type { Webhook, WebhookProvider } from './webhook.ts'

/** Every provider, by the name that a webhook's row has. */
export function createWebhooks(clock: Pick<Clock, 'now'>): Readonly<Record<WebhookProvider, Webhook>> {
  return { github: githubWebhook, gitlab: gitlabWebhook(clock), gitea: giteaWebhook }
}
