import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { bytesWritten, measureDisk, signalProcesses } from '../../core/disk-use.ts'
import type { DiskWriter } from '../../core/disk-writer.ts'
import type { Sandbox } from '../../sandbox/sandbox.ts'
import { type RunRecord, readRecord } from './instance-record.ts'
import { RunDirectory } from './run-directory.ts'

export interface RunDiskParts {
  readonly sandbox: Sandbox
  /** Holds a directory per run. */
  readonly runs: string
  /** Of a run's id. */
  readonly sandboxName: (id: string) => string
  /** Further directories that the run may write to. */
  readonly shared: (record: RunRecord) => readonly string[]
  /** Under the lock of the run, once nothing of it is left: writes down how it ended, gives back what it wrote, tells who waits. */
  readonly settle: (id: string) => Promise<void>
}

/** What runs have on disk, and their end when it is too much. */
export async function runWriters(parts: RunDiskParts): Promise<DiskWriter[]> {
  const ids = await readdir(parts.runs).catch(() => [])
  const records = await Promise.all(ids.map((id) => readRecord(join(parts.runs, id))))
  return records.flatMap((record, at) => (record === null ? [] : [writerOf(parts, ids[at] ?? '', record)]))
}

function writerOf(parts: RunDiskParts, id: string, record: RunRecord): DiskWriter {
  const { sandbox } = parts
  const directory = join(parts.runs, id)
  const name = parts.sandboxName(id)
  const { launch, diskMb = null } = record
  return {
    id,
    projectId: record.labels.projectId,
    place: 'data',
    limitBytes: diskMb === null ? null : diskMb * 1024 ** 2,
    isRunning: launch !== null && record.outcome === null,
    written: () => bytesWritten(sandbox.processes(name)),
    pause: () => signalProcesses(() => sandbox.processes(name), 'SIGSTOP'),
    resume: () => signalProcesses(() => sandbox.processes(name), 'SIGCONT'),
    measure: () => measureDisk([directory, ...parts.shared(record)], sandbox.processes(name)),
    end: async (reason) => {
      if (launch === null) return
      const run = new RunDirectory(directory)
      const isMarked = await run.markOverDisk(launch, reason).then(
        () => true,
        () => false,
      )
      // Without the lock of the run: whoever holds it may be waiting for this very process to end.
      await sandbox.kill(name)
      if (!isMarked) {
        // Not even a note has room: what it wrote goes first.
        await run.dropWritten()
        await run.markOverDisk(launch, reason)
      }
      await parts.settle(id)
    },
  }
}
