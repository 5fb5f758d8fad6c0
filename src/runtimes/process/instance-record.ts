import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { writeFileAtomic } from '../../core/atomic-file.ts'
import { bootId } from '../../core/process-identity.ts'
import type { CpuClass } from '../../domain/service-config.ts'
import type { Labels } from '../runtime.ts'

/** How a launch ended, once that is known for good. */
export interface LaunchOutcome {
  readonly exitCode: number | null
  readonly signal: string | null
  readonly outOfMemory: boolean
  /** Left out by earlier versions. */
  readonly overDisk?: string | null
  readonly stopped: boolean
  readonly exitedAt: string | null
}

/** `meta.json` of an instance or task: written before anything is spawned, and again as facts become known. Never holds variables. */
export interface RunRecord {
  readonly id: string
  readonly labels: Labels
  /** Highest fence that was seen (I6). */
  readonly fence: number
  /** Name of the present or last launch; null before the first. */
  readonly launch: string | null
  /** Boot in which it was launched. */
  readonly bootId: string
  readonly launchedAt: string
  readonly port: number | null
  /** Of its own network; null or missing (records of earlier versions) = it runs in the host's. */
  readonly address?: string | null
  /** SIGTERM was sent because somebody asked to stop this launch. */
  readonly stopAsked: boolean
  readonly outcome: LaunchOutcome | null
  readonly memoryMb: number
  readonly cpu: CpuClass
  /** What it may have on disk; null, and left out by earlier versions = only the volume bounds it. */
  readonly diskMb?: number | null
  /** Tasks only: ended by its time-out. */
  readonly timedOut: boolean
}

/** The record of something that was not launched yet. */
export function newRecord(
  spec: Pick<RunRecord, 'id' | 'labels' | 'memoryMb' | 'cpu' | 'diskMb'>,
  fence: number,
  place: Pick<RunRecord, 'port' | 'address'>,
): RunRecord {
  const { id, labels, memoryMb, cpu, diskMb = null } = spec
  return {
    id,
    labels,
    fence,
    launch: null,
    bootId: bootId(),
    launchedAt: '',
    ...place,
    stopAsked: false,
    outcome: null,
    memoryMb,
    cpu,
    diskMb,
    timedOut: false,
  }
}

export async function readRecord(directory: string): Promise<RunRecord | null> {
  try {
    return JSON.parse(await readFile(join(directory, 'meta.json'), 'utf8')) as RunRecord
  } catch (error) {
    // A record that can't be read (a power cut on a file system without order) is as good as none: the sandbox is found by its name.
    if (error instanceof SyntaxError || (error as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw error
  }
}

export async function writeRecord(directory: string, record: RunRecord): Promise<void> {
  await writeFileAtomic(join(directory, 'meta.json'), JSON.stringify(record, null, 2))
}
