import { createHash } from 'node:crypto'
import type { ApiDependencies } from '../api/dependencies.ts'
import type { Settings } from '../config/settings.ts'
import { ShiplockError } from '../core/errors.ts'
import { checkUrl } from '../core/outgoing.ts'
import { previewHost } from '../domain/preview.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { type SenderDependencies, sendTestNotification } from '../engine/outbox/sender.ts'
import { sourceCredentials } from '../engine/source-credentials.ts'
import type { TriggerDependencies } from '../engine/triggers/dependencies.ts'
import { matchTrigger } from '../sources/webhooks/trigger-matchers.ts'
import { createWebhooks } from '../sources/webhooks/webhooks.ts'
import { DEFAULT_NAMES } from './default-names.ts'
import { readHookOffLoop } from './off-loop.ts'

/** What the API needs of webhooks and notifications. */
export function composeHooks(
  settings: Settings,
  engine: EngineDependencies,
  sender: SenderDependencies,
): Pick<ApiDependencies, 'open' | 'readHook' | 'signHook' | 'publicUrl' | 'hooksPort' | 'assertCallable' | 'testNotification'> {
  const webhooks = createWebhooks(engine.clock)
  return {
    open: (sealed) => engine.sealer.open(sealed),
    readHook: (provider, request) => readHookOffLoop(webhooks[provider], request),
    signHook: (provider, delivery) => webhooks[provider].sign(delivery),
    publicUrl: settings.publicUrl,
    hooksPort: settings.hooksListen === null || settings.hooksListen.port === 0 ? null : settings.hooksListen.port,
    assertCallable: (url) => void checkUrl(url, settings.outgoing),
    testNotification: (id) => sendTestNotification(sender, id),
  }
}

const shortDigest = (text: string) => createHash('sha256').update(text).digest('hex').slice(0, 10)

/** What deciding about pushes needs of the drivers. */
export function composeTriggers(settings: Settings, engine: EngineDependencies): TriggerDependencies {
  const { git } = engine.drivers.sources
  return {
    database: engine.database,
    clock: engine.clock,
    logger: engine.logger,
    matchTrigger,
    headCheckMs: settings.headCheckMs,
    previewHost: ({ project, ...names }) =>
      previewHost({ ...names, project: project === DEFAULT_NAMES.project ? null : project }, settings.domain, shortDigest),
    validateSource: (source) => {
      if (git === null) throw new ShiplockError('SOURCE_REFUSED', 'this server fetches nothing from git')
      git.validate(source)
    },
    readHeads: async (repository, branches, signal) => {
      if (git?.readHeads === undefined) throw new ShiplockError('SOURCE_REFUSED', 'this server fetches nothing from git')
      const credentials = await sourceCredentials(engine, engine.database, repository)
      const source = { kind: 'git' as const, url: repository.url, ref: null }
      return git.readHeads({ source, projectId: repository.projectId, credentials, branches, signal })
    },
  }
}
