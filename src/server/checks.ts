import { mkdir, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { parseEngineAddress } from '../container-engine/engine-address.ts'
import type { Finding } from '../contract/server.ts'
import { ShiplockError } from '../core/errors.ts'
import { createLogger } from '../core/log.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { nodeSupport, TESTED_NODE_LINES } from '../core/node-release.ts'
import { printable } from '../core/printable.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import type { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import { createSandbox } from '../sandbox/create-sandbox.ts'
import type { Sandbox, SandboxNetworks } from '../sandbox/sandbox.ts'
import { diagnoseEmbedded } from '../store/embedded/diagnose.ts'
import { whyShort } from './compose-disk.ts'
import { composeEngine } from './compose-engine.ts'
import { composeNetworks, networkFinding } from './compose-networks.ts'
import { composeScanner } from './compose-scanner.ts'
import { DiskWatch } from './disk-watch.ts'
import { openMemory } from './open-memory.ts'

/** The state of a running server's parts. */
export async function checkParts(
  settings: Settings,
  engine: EngineDependencies,
  parts: {
    readonly sandbox: Sandbox
    readonly networks: SandboxNetworks
    readonly trees: ProcessRuntime
    readonly memory: MemoryDirectory
    readonly containerEngine: ContainerEngine | null
  },
): Promise<Finding[]> {
  const { sandbox, containerEngine } = parts
  const signal = AbortSignal.timeout(5000)
  const { drivers, database } = engine
  const [runtime, edge, scanner, registry] = await Promise.all([
    drivers.runtime.check(signal),
    drivers.edge.check(signal),
    drivers.scanner.check(signal),
    drivers.registry.check?.(signal),
  ])
  const store = await database.query<{ version: string }>('show server_version').then(
    ([row]) => ({ ok: true, summary: `PostgreSQL ${(row as { server_version?: string } | undefined)?.server_version ?? ''}` }),
    (error: Error) => ({ ok: false, summary: error.message }),
  )
  const { isolated, summary } = { isolated: sandbox.description.kind !== 'none', summary: sandbox.description.summary }
  return [
    nodeFinding(),
    finding('database', store.ok ? 'ok' : 'failed', store.summary),
    finding('runtime', runtime.ok ? 'ok' : 'failed', runtime.summary),
    finding('sandbox', isolated ? 'ok' : 'warning', summary),
    await networkFinding(parts.networks, parts.trees),
    memoryFinding(parts.memory),
    await engineFinding(settings, containerEngine),
    finding('edge', edge.ok ? 'ok' : 'failed', edge.summary),
    finding('scanner', scanner.ok ? 'ok' : 'warning', scanner.summary, scanner.hint),
    ...(registry === undefined ? [] : [finding('registry', registry.ok ? 'ok' : 'warning', registry.summary, registryHint(registry.ok))]),
    await diskFinding(settings, (await drivers.images?.root().catch(() => null)) ?? null),
  ]
}

function memoryFinding(memory: MemoryDirectory): Finding {
  if (memory.isInMemory) return finding('secrets at rest', 'ok', memory.summary)
  const hint = 'Mount a tmpfs at /run or /dev/shm that the server may write, and leave `private` out of backups until then.'
  return finding('secrets at rest', 'warning', memory.summary, hint)
}

function registryHint(isOk: boolean): string | null {
  return isOk ? null : 'Check SHIPLOCK_REGISTRY and its credentials; deployments of images fail at publish meanwhile.'
}

function finding(name: string, status: Finding['status'], summary: string, hint: string | null = null): Finding {
  return { name, status, summary, hint }
}

function nodeFinding(): Finding {
  const { isSupported, summary } = nodeSupport(process.version, Date.now())
  const hint = `Run the server on Node ${TESTED_NODE_LINES.join(', ')}: it is tested on these, and its data stay as they are.`
  return isSupported ? finding('node', 'ok', summary) : finding('node', 'warning', summary, hint)
}

async function diskFinding(settings: Settings, engineRoot: string | null): Promise<Finding> {
  const directory = settings.dataDirectory
  const { bavail, bsize } = await statfs(directory)
  const summary = `${((bavail * bsize) / 1024 ** 3).toFixed(1)} GiB free at ${directory}`
  const short = await whyShort(settings)
  if (short !== null) {
    const hint = 'Free space on that volume: whoever fills it of the projects is stopped, so something else may have. `shiplock gc` helps.'
    return finding('disk', 'failed', short, hint)
  }
  const why = await new DiskWatch(settings.diskMark, async () => (engineRoot === null ? [directory] : [directory, engineRoot])).whyFull()
  return why === null
    ? finding('disk', 'ok', summary)
    : finding(
        'disk',
        'warning',
        `nothing new is built: ${why}`,
        '`shiplock gc` clears up what nobody needs; SHIPLOCK_DISK_MARK is the mark.',
      )
}

/** An engine is an offer in `auto`, and needed for `docker`. */
async function engineFinding(settings: Settings, engine: ContainerEngine | null): Promise<Finding> {
  const isNeeded = settings.runtime === 'docker'
  const hint = isNeeded
    ? 'Nothing is deployed without it: SHIPLOCK_RUNTIME is docker. Start it, or name it in SHIPLOCK_CONTAINER_ENGINE.'
    : 'Without one, recipes can be deployed; Dockerfiles and images can not.'
  if (engine === null && isNeeded) return finding('container engine', 'failed', 'SHIPLOCK_CONTAINER_ENGINE is none', hint)
  if (engine === null) {
    const reason = settings.runtime === 'process' ? 'SHIPLOCK_RUNTIME is process' : 'SHIPLOCK_CONTAINER_ENGINE is none'
    return finding('container engine', 'ok', `not used: ${reason}`)
  }
  try {
    // At once, not after some repetitions: it may have gone a moment ago.
    await engine.json('GET', '/version', { isRepeatable: false, timeoutMs: ENGINE_MS })
    const { name, api, os, arch } = await engine.version()
    return finding('container engine', 'ok', `${name} at ${engine.address}, API ${api}, ${os}/${arch}`)
  } catch (error) {
    const tried = settings.containerEngine.map((candidate) => {
      const parsed = parseEngineAddress(candidate)
      return 'problem' in parsed ? `${candidate} ${parsed.problem}` : candidate
    })
    const reason = error instanceof ShiplockError ? error.message : 'it does not answer'
    // Nobody asked for one where only the usual places were looked at.
    const isWanted = isNeeded || settings.containerEngine.length === 1
    const summary = isWanted ? printable(reason) : `none answers (looked at ${tried.join(', ')})`
    const status = isNeeded ? 'failed' : isWanted ? 'warning' : 'ok'
    return finding('container engine', status, summary, hint)
  }
}
const ENGINE_MS = 3000

/** What can be said without a server: for `shiplock doctor`. */
export async function diagnose(settings: Settings): Promise<Finding[]> {
  await mkdir(settings.dataDirectory, { recursive: true, mode: 0o711 })
  const memory = await openMemory(settings.dataDirectory)
  const logger = createLogger('silent')
  const networks = await composeNetworks(settings, logger)
  const sandbox = await createSandbox({
    stateDirectory: join(settings.dataDirectory, 'sandbox'),
    logger,
    memory,
    networkSummary: networks.summary,
  })
  const scanner = await composeScanner(settings, null).check(AbortSignal.timeout(5000))
  const store =
    settings.databaseUrl === null
      ? (await diagnoseEmbedded(settings.dataDirectory)).map((entry) =>
          finding(`database: ${entry.title}`, entry.ok ? 'ok' : 'failed', entry.detail, entry.advice === '' ? null : entry.advice),
        )
      : [finding('database', 'ok', 'DATABASE_URL is set')]
  return [
    nodeFinding(),
    ...store,
    finding('sandbox', sandbox.description.kind === 'none' ? 'warning' : 'ok', sandbox.description.summary),
    await networkFinding(networks, null),
    memoryFinding(memory),
    await diagnoseEngine(settings),
    finding('scanner', scanner.ok ? 'ok' : 'warning', scanner.summary, scanner.hint),
    await diskFinding(settings, null),
  ]
}

async function diagnoseEngine(settings: Settings): Promise<Finding> {
  const engine = await composeEngine(settings)
  try {
    return await engineFinding(settings, engine)
  } finally {
    await engine?.close()
  }
}
