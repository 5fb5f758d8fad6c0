import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { isRefusal } from '../../container-engine/engine.ts'
import { bytesWritten, measureDisk, signalProcesses } from '../../core/disk-use.ts'
import type { DiskUse, DiskWriter } from '../../core/disk-writer.ts'
import { allPids } from '../../core/process-identity.ts'
import { filters, LABEL } from './container-labels.ts'
import { readRecord } from './container-record.ts'

export interface ContainerDiskParts {
  readonly engine: ContainerEngine
  readonly owner: string
  /** Holds a directory per instance. */
  readonly instances: string
  /** At most, whatever the configuration says; null = only the volume bounds it. */
  readonly mostMb: number | null
  /** Ends the instance; its container goes with what it wrote. */
  readonly end: (id: string, reason: string) => Promise<void>
}

interface Listed {
  readonly Id: string
  readonly State: string
  readonly Labels: Readonly<Record<string, string>>
}

interface SizedFacts {
  readonly SizeRw?: number
  readonly GraphDriver?: { readonly Data?: Readonly<Record<string, string>> | null } | null
  readonly Mounts?: readonly { readonly Type: string; readonly Source: string }[]
}

/** Containers of instances as writers, where the engine's files are on this host. */
export async function containerWriters(parts: ContainerDiskParts): Promise<DiskWriter[]> {
  const { engine, owner, instances, mostMb } = parts
  if (!engine.isLocal) return []
  const query = { all: true, filters: filters(`${LABEL.owner}=${owner}`, `${LABEL.kind}=instance`) }
  const listed = await engine.json<readonly Listed[]>('GET', '/containers/json', { query })
  const pids = pidsOf(listed.map(({ Id }) => Id))
  const writers = await Promise.all(
    listed.map(async (container): Promise<DiskWriter | null> => {
      const id = container.Labels[LABEL.id] ?? ''
      const record = await readRecord(join(instances, id))
      if (record === null) return null
      const { diskMb = null } = record
      // Adopted from an earlier version: without a limit of its own.
      const limitMb = record.diskMb === undefined ? null : Math.min(diskMb ?? Number.MAX_VALUE, mostMb ?? Number.MAX_VALUE)
      const processes = () => pids.get(container.Id) ?? []
      return {
        id,
        projectId: record.labels.projectId,
        place: 'engine',
        limitBytes: limitMb === null || limitMb === Number.MAX_VALUE ? null : limitMb * 1024 ** 2,
        isRunning: container.State === 'running' || container.State === 'paused',
        written: () => bytesWritten(processes()),
        pause: () => signalProcesses(processes, 'SIGSTOP'),
        resume: () => signalProcesses(processes, 'SIGCONT'),
        measure: () => measure(engine, container.Id, processes()),
        end: (reason) => parts.end(id, reason),
      }
    }),
  )
  return writers.filter((writer) => writer !== null)
}

/** Its writable layer and its volumes; by the engine's own count where the layer is no directory of its own. */
async function measure(engine: ContainerEngine, id: string, processes: readonly number[]): Promise<DiskUse> {
  const facts = await engine.json<SizedFacts>('GET', `/containers/${id}/json`).catch((error: unknown) => {
    if (isRefusal(error, 404)) return null
    throw error
  })
  if (facts === null) return { bytes: 0, files: 0 }
  const volumes = (facts.Mounts ?? []).filter(({ Type }) => Type === 'volume').map(({ Source }) => Source)
  const layer = facts.GraphDriver?.Data?.UpperDir
  const isSeen = layer !== undefined && existsSync(layer)
  const use = await measureDisk([...(isSeen ? [layer] : []), ...volumes.filter((path) => existsSync(path))], processes)
  if (isSeen) return use
  const sized = await engine.json<SizedFacts>('GET', `/containers/${id}/json`, { query: { size: true } })
  return { bytes: use.bytes + (sized.SizeRw ?? 0), files: use.files }
}

/** The container's id stands in the name of its cgroup. */
function pidsOf(ids: readonly string[]): ReadonlyMap<string, readonly number[]> {
  const found = new Map<string, number[]>()
  if (ids.length === 0) return found
  for (const pid of allPids()) {
    const [id] = /[0-9a-f]{64}/.exec(cgroupOf(pid)) ?? []
    if (id !== undefined) found.set(id, [...(found.get(id) ?? []), pid])
  }
  return found
}

function cgroupOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cgroup`, 'latin1')
  } catch {
    return ''
  }
}
