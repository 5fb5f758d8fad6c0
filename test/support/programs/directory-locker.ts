import { acquireDirectoryLock } from '../../../src/core/directory-lock.ts'

/** Takes the lock of a directory, says `locked` or who has it, and stays. */
const directory = process.argv[2] ?? ''
try {
  await acquireDirectoryLock(directory)
  process.stdout.write('locked\n')
  setInterval(() => {}, 60_000)
} catch (error) {
  process.stdout.write(`${(error as Error).message}\n`)
}
