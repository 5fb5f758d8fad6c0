import { readFileSync } from 'node:fs'
import { readdir, readFile, stat } from 'node:fs/promises'
import type { DiskUse } from './disk-writer.ts'
import { runCommand } from './exec.ts'
import { LIMITS } from './limits.ts'

const ENVIRONMENT = { PATH: '/usr/bin:/bin', LC_ALL: 'C' }

/** Bytes on disk below each directory, hard links counted once. What vanishes meanwhile is left out. */
export async function usage(directories: readonly string[]): Promise<number[]> {
  return (await du(['-sk'], directories)).map((kib) => kib * 1024)
}

/** What the directories hold, and what the processes still hold open of what was deleted. */
export async function measureDisk(directories: readonly string[], processes: readonly number[]): Promise<DiskUse> {
  const [bytes, files, open] = await Promise.all([usage(directories), du(['-s', '--inodes'], directories), deletedButOpen(processes)])
  return { bytes: sum(bytes) + open.bytes, files: sum(files) + open.files }
}

async function du(options: readonly string[], directories: readonly string[]): Promise<number[]> {
  const args = ['du', ...options, '--', ...directories]
  const result = await runCommand('/usr/bin/env', args, { env: ENVIRONMENT, timeoutMs: LIMITS.diskMeasureMs })
  const found = new Map(
    result.stdout.split('\n').flatMap((line) => {
      const [, count, path] = /^(\d+)\s+(.*)$/.exec(line) ?? []
      return count === undefined ? [] : [[path, Number(count)] as const]
    }),
  )
  return directories.map((directory) => found.get(directory) ?? 0)
}

/** Such files have no name any more: only the descriptors and mappings of who has them open lead to them. */
async function deletedButOpen(processes: readonly number[]): Promise<DiskUse> {
  const seen = new Map<string, number>()
  for (const pid of processes) {
    for (const place of ['fd', 'map_files']) {
      const directory = `/proc/${pid}/${place}`
      for (const name of await readdir(directory).catch(() => [])) {
        const file = await stat(`${directory}/${name}`).catch(() => null)
        if (file?.isFile() && file.nlink === 0 && !(await isInMemory(pid, file.dev))) seen.set(`${file.dev}:${file.ino}`, file.blocks * 512)
      }
    }
  }
  return { bytes: sum([...seen.values()]), files: seen.size }
}

/** Memory is charged to the process's own limit: memfd, shared memory and the sandbox's /tmp are no disk. */
async function isInMemory(pid: number, device: number): Promise<boolean> {
  // Anonymous file systems of the kernel (memfd, SysV) are in no mount table.
  const [major, minor] = [(device >>> 8) & 0xfff, (device & 0xff) | ((device >>> 12) & 0xfff00)]
  const table = await readFile(`/proc/${pid}/mountinfo`, 'latin1').catch(() => '')
  const lines = table.split('\n').filter((line) => line.split(' ')[2] === `${major}:${minor}`)
  // The sandbox's own file systems in memory are its whole tree; a bind mount of a part is the data directory, in memory or not.
  return lines.every((line) => line.split(' ')[3] === '/' && / - tmpfs /.test(line))
}

/** Bytes that the processes have written since they began, ended children of theirs included; 0 for what can't be read. */
export function bytesWritten(processes: readonly number[]): number {
  return sum(processes.map((pid) => parseWritten(readOrEmpty(`/proc/${pid}/io`))))
}

/** Twice: what forks while the list is read is on the second one. */
export function signalProcesses(processes: () => readonly number[], signal: 'SIGSTOP' | 'SIGCONT'): void {
  for (let round = 0; round < 2; round++) {
    for (const pid of processes()) {
      try {
        process.kill(pid, signal)
      } catch {
        // Gone meanwhile.
      }
    }
  }
}

/** Whichever the kernel counted: calls (also into file systems in memory), or pages made dirty (also by mappings). */
export function parseWritten(text: string): number {
  const field = (name: string) => Number(new RegExp(`^${name}: (\\d+)$`, 'm').exec(text)?.[1] ?? 0)
  return Math.max(field('wchar'), field('write_bytes'))
}

function readOrEmpty(file: string): string {
  try {
    return readFileSync(file, 'latin1')
  } catch {
    return ''
  }
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
