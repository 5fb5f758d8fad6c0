import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { InstanceSpec, Labels } from '../runtime.ts'
import { LABEL } from './container-labels.ts'
import { type ContainerFacts, labelsIn } from './container-state.ts'

/**
 * What the server remembers of an instance or task beside the engine: labels of a container can't be changed, and a container that was
 * removed tells nothing. Written before the engine is asked for anything. Never holds variables.
 */
export interface ContainerRecord {
  readonly id: string
  readonly labels: Labels
  /** Highest fence that was seen (I6). */
  readonly fence: number
  readonly network: string
  /** Its address in the network, kept for it while it exists; null = what the engine gives. */
  readonly address: string | null
  readonly memoryMb: number
  /** What it asks to have on disk; null = as much as the server lets one have. Left out by earlier versions: no limit of its own. */
  readonly diskMb?: number | null
  /** Why its present run was ended for what it wrote. */
  readonly overDisk?: string
  /** A stop of the present run was asked for. */
  readonly stopAsked: boolean
  /** Tasks: when it began, and whether its time-out ended it. */
  readonly launchedAt: string
  readonly timedOut: boolean
}

export async function readRecord(directory: string): Promise<ContainerRecord | null> {
  try {
    return JSON.parse(await readFile(join(directory, 'container.json'), 'utf8')) as ContainerRecord
  } catch (error) {
    // Unreadable is as good as none: the container is found by its name and carries labels.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

export async function writeRecord(directory: string, record: ContainerRecord): Promise<void> {
  await writeFileAtomic(join(directory, 'container.json'), JSON.stringify(record, null, 2))
}

/** Before it ends, so that its end is never taken for another. */
export async function markOverDisk(directory: string, overDisk: string): Promise<void> {
  const record = await readRecord(directory)
  if (record !== null) await writeRecord(directory, { ...record, overDisk })
}

/** @throws FENCED when a newer owner has been here (I6). */
export function assertFence(record: ContainerRecord | null, fence: number): void {
  if (record !== null && fence < record.fence) {
    throw new ShiplockError('FENCED', `${record.id} belongs to fence ${record.fence} now; ${fence} is refused`, {
      details: { id: record.id },
    })
  }
}

/** Of a container whose record was lost. */
export function recordOf(facts: ContainerFacts, spec: InstanceSpec): ContainerRecord {
  const { id, labels, memoryMb } = spec
  const network = labelsIn(facts)[LABEL.network] ?? ''
  return { id, labels, fence: 0, network, address: null, memoryMb, stopAsked: false, launchedAt: facts.State.StartedAt, timedOut: false }
}
