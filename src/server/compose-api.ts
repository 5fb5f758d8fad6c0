import type { ApiDependencies } from '../api/dependencies.ts'
import { UploadBudget } from '../api/upload-budget.ts'
import type { BuildCaches } from '../builders/build-caches.ts'
import type { Settings } from '../config/settings.ts'
import type { ContainerEngine } from '../container-engine/engine.ts'
import { ShiplockError, toShiplockError } from '../core/errors.ts'
import type { ForeignPrograms } from '../core/foreign-programs.ts'
import type { HostGuard } from '../core/host-guard.ts'
import { LIMITS } from '../core/limits.ts'
import type { MemoryDirectory } from '../core/memory-directory.ts'
import { packTree } from '../core/pack-tree.ts'
import type { Keyring } from '../core/seal.ts'
import { isRecognisable } from '../core/secret-forms.ts'
import { walkTree } from '../core/walk-tree.ts'
import { hostFor } from '../domain/host-name.ts'
import type { Edge } from '../edge/edge.ts'
import type { EngineDependencies } from '../engine/dependencies.ts'
import type { DiskGuard } from '../engine/disk-guard.ts'
import { explainRollback } from '../engine/explain-rollback.ts'
import { instanceOutput } from '../engine/instance-output.ts'
import type { KeyRotation } from '../engine/key-rotation.ts'
import type { SenderDependencies } from '../engine/outbox/sender.ts'
import type { ProcessRuntime } from '../runtimes/process/process-runtime.ts'
import type { Sandbox, SandboxNetworks } from '../sandbox/sandbox.ts'
import { SYSTEM_PATH } from '../sources/git.ts'
import { hostOf, parseGitAddress } from '../sources/git-address.ts'
import { readHostKeys } from '../sources/host-keys.ts'
import type { createUploadStore } from '../sources/upload.ts'
import type { Drivers } from '../stages/stage.ts'
import { sumUploads } from '../store/sql/uploads.ts'
import { checkParts } from './checks.ts'
import { whyShort } from './compose-disk.ts'
import { composeGarbage } from './compose-garbage.ts'
import { composeHooks } from './compose-hooks.ts'
import { DEFAULT_NAMES } from './default-names.ts'
import type { DiskWatch } from './disk-watch.ts'
import type { Notices } from './notices.ts'
import { VERSION } from './version.ts'

/** What the API needs of the other parts. */
export function composeApi(
  settings: Settings,
  engine: EngineDependencies,
  parts: {
    notices: Notices
    uploads: ReturnType<typeof createUploadStore>
    sandbox: Sandbox
    networks: SandboxNetworks
    trees: ProcessRuntime
    programs: ForeignPrograms
    hosts: HostGuard
    edge: Edge
    memory: MemoryDirectory
    caches: BuildCaches
    containerEngine: ContainerEngine | null
    keyring: Keyring
    rotation: KeyRotation
    sender: SenderDependencies
    disk: DiskWatch
    guard: DiskGuard
    isWorking: () => boolean
  },
): ApiDependencies {
  const { drivers } = engine
  return {
    database: engine.database,
    notices: parts.notices,
    clock: engine.clock,
    logger: engine.logger,
    version: VERSION,
    serverId: engine.owner.serverId,
    defaults: DEFAULT_NAMES,
    slots: engine.slots,
    artifactKinds: () => drivers.runtime.capabilities.artifacts,
    allowedHosts: [...settings.apiHosts, ...(settings.publicUrl === null ? [] : [new URL(settings.publicUrl).hostname])],
    trustedProxies: settings.trustedProxies,
    ratesPerMinute: { perToken: settings.apiRequestsPerMinute, anonymous: LIMITS.anonymousPerMinute, failures: LIMITS.failuresPerMinute },
    urlOf: (host) => parts.edge.urlOf(host, ''),
    hostFor: (names) => hostFor(names, DEFAULT_NAMES, settings.domain),
    uploads: parts.uploads,
    isHostPath: (source) => source.kind === 'git' && parseGitAddress(source.url).protocol === 'file',
    uploadBudget: new UploadBudget({
      maxBytes: settings.projectUploadMb * 1024 ** 2,
      keptBytes: (project) => sumUploads(engine.database, project),
      whyFull: () => whyShort(settings),
    }),
    isDegraded: () => parts.guard.shortage !== null,
    validateSource: (source) => {
      const fetcher = drivers.sources[source.kind]
      if (fetcher === null) throw toShiplockError(new Error(`this server takes no source of kind ${source.kind}`))
      fetcher.validate(source)
    },
    artifacts: {
      pack: async (digest) => {
        const directory = await drivers.artifacts.find(digest)
        return directory === null ? null : packTree(directory, await walkTree(directory))
      },
    },
    caches: composeCaches(drivers, parts.caches, parts.isWorking),
    secrets: composeSecrets(parts.keyring, parts.rotation),
    repositories: {
      sshHostOf: (repository) => {
        if (repository.kind !== 'git') return null
        const address = parseGitAddress(repository.url)
        return address.protocol === 'ssh' ? hostOf(address) : null
      },
      readHostKeys: (host, signal) => readHostKeys({ ...parts, searchPath: SYSTEM_PATH }, host, signal),
    },
    instanceLogs: (id, options) => instanceOutput(engine, id, options),
    ...composeHooks(settings, engine, parts.sender),
    garbage: composeGarbage(settings, engine, parts.disk),
    explainRollback: (target, release, variables) => explainRollback(engine, target, release, variables),
    checks: () => checkParts(settings, engine, parts),
  }
}

function composeSecrets(keyring: Keyring, rotation: KeyRotation): ApiDependencies['secrets'] {
  return {
    seal: (value) => keyring.seal(value),
    describe: (sealed, purpose) => {
      try {
        const value = keyring.open(sealed)
        return { fingerprint: keyring.fingerprint(purpose, value), isRecognisable: isRecognisable(value) }
      } catch {
        return null
      }
    },
    keys: {
      report: async () => {
        const report = await rotation.report()
        return { ...report, keys: [...report.keys] }
      },
      rotate: () => rotation.begin(),
    },
  }
}

/** Build caches and runtime layers as one thing for people. */
function composeCaches({ runtimeLayers }: Drivers, caches: BuildCaches, isWorking: () => boolean): ApiDependencies['caches'] {
  return {
    list: async () => [
      ...(await caches.list()).map(({ image: _, ...entry }) => entry),
      ...((await runtimeLayers?.list()) ?? []).map(({ id: _, image: __, ...layer }) => ({ ...layer, layer: 'run' as const })),
    ],
    clear: async (id, layer) => {
      // Which caches a build has open is known to the server that builds.
      if (!isWorking()) {
        throw new ShiplockError('CONFLICT', 'this server stands by, and caches are cleared by the one that works', {
          hint: '`shiplock server status` names it.',
        })
      }
      return {
        bytes: layer === 'run' ? 0 : await caches.clear(id, layer),
        runtimeLayers: layer === 'run' || layer === 'all' ? ((await runtimeLayers?.invalidate(id)) ?? 0) : 0,
      }
    },
  }
}
