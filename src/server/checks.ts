import { mkdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import type { Finding } from '../contract/server.ts'
import { LIMITS } from '../core/limits.ts'
import { createLogger } from '../core/log.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import { createSandbox } from '../sandbox/create-sandbox.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import { diagnoseEmbedded } from '../store/embedded/diagnose.ts'
import { composeScanner } from './compose-scanner.ts'

/** The state of a running server's parts. */
export async function checkParts(settings: Settings, engine: EngineDependencies, sandbox: Sandbox): Promise<Finding[]> {
  const signal = AbortSignal.timeout(5000)
  const { drivers, database } = engine
  const [runtime, edge, scanner] = await Promise.all([
    drivers.runtime.check(signal),
    drivers.edge.check(signal),
    drivers.scanner.check(signal),
  ])
  const store = await database.query<{ version: string }>('show server_version').then(
    ([row]) => ({ ok: true, summary: `PostgreSQL ${(row as { server_version?: string } | undefined)?.server_version ?? ''}` }),
    (error: Error) => ({ ok: false, summary: error.message }),
  )
  const { isolated, summary } = { isolated: sandbox.description.kind !== 'none', summary: sandbox.description.summary }
  return [
    finding('database', store.ok ? 'ok' : 'failed', store.summary),
    finding('runtime', runtime.ok ? 'ok' : 'failed', runtime.summary),
    finding('sandbox', isolated ? 'ok' : 'warning', summary),
    finding('edge', edge.ok ? 'ok' : 'failed', edge.summary),
    finding('scanner', scanner.ok ? 'ok' : 'warning', scanner.summary, scanner.hint),
    await diskFinding(settings.dataDirectory),
  ]
}

function finding(name: string, status: Finding['status'], summary: string, hint: string | null = null): Finding {
  return { name, status, summary, hint }
}

async function diskFinding(directory: string): Promise<Finding> {
  const { bavail, bsize } = await statfs(directory)
  const free = bavail * bsize
  const summary = `${(free / 1024 ** 3).toFixed(1)} GiB free at ${directory}`
  return free < LIMITS.diskFreeBytesMin
    ? finding('disk', 'warning', summary, 'Free some space: builds need it.')
    : finding('disk', 'ok', summary)
}

/** What can be said without a server: for `shiplock doctor`. */
export async function diagnose(settings: Settings): Promise<Finding[]> {
  await mkdir(settings.dataDirectory, { recursive: true, mode: 0o711 })
  const sandbox = await createSandbox({ stateDirectory: join(settings.dataDirectory, 'sandbox'), logger: createLogger('silent') })
  const scanner = await composeScanner(settings).check(AbortSignal.timeout(5000))
  const store =
    settings.databaseUrl === null
      ? (await diagnoseEmbedded(settings.dataDirectory)).map((entry) =>
          finding(`database: ${entry.title}`, entry.ok ? 'ok' : 'failed', entry.detail, entry.advice === '' ? null : entry.advice),
        )
      : [finding('database', 'ok', 'DATABASE_URL is set')]
  return [
    ...store,
    finding('sandbox', sandbox.description.kind === 'none' ? 'warning' : 'ok', sandbox.description.summary),
    finding('scanner', scanner.ok ? 'ok' : 'warning', scanner.summary, scanner.hint),
    await diskFinding(settings.dataDirectory),
  ]
}
