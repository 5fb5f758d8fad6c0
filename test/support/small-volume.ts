import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, rmdirSync, rmSync, statfsSync, truncateSync, writeFileSync } from 'node:fs'

/** A volume of its own, so that a test may fill it; its root is a data directory. */
export interface SmallVolume {
  readonly directory: string
  freeBytes(): number
  freeFiles(): number
  remove(): void
}

/** ext4 in a file, nothing of it reserved for root. Needs root, as the tests of containers do. */
export function mountSmallVolume(megabytes: number, inodes: number): SmallVolume {
  const directory = mkdtempSync('/tmp/sl-')
  const image = `${directory}.img`
  writeFileSync(image, '')
  truncateSync(image, megabytes * 1024 ** 2)
  execFileSync('mkfs.ext4', ['-q', '-m', '0', '-N', String(inodes), '-O', '^has_journal', image])
  execFileSync('mount', ['-o', 'loop', image, directory])
  rmdirSync(`${directory}/lost+found`)
  chmodSync(directory, 0o711)
  return {
    directory,
    freeBytes: () => {
      const { bavail, bsize } = statfsSync(directory)
      return bavail * bsize
    },
    freeFiles: () => statfsSync(directory).ffree,
    remove: () => {
      execFileSync('umount', ['--lazy', directory])
      rmdirSync(directory)
      rmSync(image, { force: true })
    },
  }
}
