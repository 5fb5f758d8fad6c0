import type { ResolvedService, ResolveRequest } from '../config/resolve.ts'
import { LIMITS } from '../core/limits.ts'
import { type ErrorFacts, errorOf, OffLoop } from '../core/off-loop.ts'
import type { TrivyFindings } from '../scanner/trivy-report.ts'
import { type HookReading, readHook } from '../sources/webhooks/read-hook.ts'
import type { Webhook, WebhookProvider, WebhookRequest } from '../sources/webhooks/webhook.ts'

export interface HookTask {
  readonly provider: WebhookProvider
  readonly request: WebhookRequest
}

/** Threads are started when the first of them is needed, and keep nothing running. */
const offLoop = new OffLoop({ entry: new URL('./off-loop-main.js', import.meta.url) })

export function resolveOffLoop(request: ResolveRequest): Promise<ResolvedService> {
  return offLoop.run('configuration', request, 'reading the configuration')
}

/** A small body is read here: to copy it would take longer. */
export async function readHookOffLoop(webhook: Webhook, request: WebhookRequest): Promise<HookReading> {
  if (request.rawBody.length <= LIMITS.inlineParseBytes) return readHook(webhook, request)
  const task: HookTask = { provider: webhook.provider, request }
  const reading = await offLoop.run<HookReading>('hook', task, 'reading the delivery')
  return reading.kind === 'unreadable' ? { ...reading, error: errorOf(reading.error as ErrorFacts) } : reading
}

export function parseReportOffLoop(text: string): Promise<TrivyFindings> {
  return offLoop.run('scan-report', text, 'reading the report of the scanner')
}
