import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { ShiplockError } from '../../core/errors.ts'
import type { Labels } from '../runtime.ts'

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

/** @throws FENCED when a newer owner has been here (I6). */
export function assertFence(record: ContainerRecord | null, fence: number): void {
  if (record !== null && fence < record.fence) {
    throw new ShiplockError('FENCED', `${record.id} belongs to fence ${record.fence} now; ${fence} is refused`, {
      details: { id: record.id },
    })
  }
}
