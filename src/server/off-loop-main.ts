import { parentPort } from 'node:worker_threads'
import { type ResolveRequest, resolveService } from '../config/resolve.ts'
import { systemClock } from '../core/clock.ts'
import { factsOf, type OffLoopReply, type OffLoopRequest } from '../core/off-loop.ts'
import { parseTrivyReport } from '../scanner/trivy-report.ts'
import { readHook } from '../sources/webhooks/read-hook.ts'
import type { WebhookProvider, WebhookRequest } from '../sources/webhooks/webhook.ts'
import { createWebhooks } from '../sources/webhooks/webhooks.ts'
import type { HookTask } from './off-loop.ts'

/** The program of the threads that parse foreign text. They see nothing of the server but what they are handed. */
const webhooks = createWebhooks(systemClock)

const TASKS: Readonly<Record<string, (input: never) => unknown>> = {
  configuration: (request: ResolveRequest) => resolveService(request),
  hook: ({ provider, request }: HookTask) => hook(provider, request),
  'scan-report': (text: string) => parseTrivyReport(text),
}

function hook(provider: WebhookProvider, request: WebhookRequest): unknown {
  const rawBody = Buffer.from(request.rawBody)
  const reading = readHook(webhooks[provider], { ...request, rawBody })
  return reading.kind === 'unreadable' ? { ...reading, error: factsOf(reading.error) } : reading
}

parentPort?.on('message', async ({ task, input }: OffLoopRequest) => {
  const reply: OffLoopReply = await Promise.resolve()
    .then(() => TASKS[task]?.(input as never))
    .then(
      (value) => ({ value }),
      (error: unknown) => ({ error: factsOf(error) }),
    )
  parentPort?.postMessage(reply)
})
