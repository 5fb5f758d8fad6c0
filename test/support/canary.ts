import { spawnSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'

/** A value that stands nowhere else on this machine. */
export function drawCanary(name: string): string {
  return `canary-${name}-${randomBytes(12).toString('hex')}`
}

/** Files below those directories that hold one of the values, binary ones too; `except` = names of directories that are not looked into. */
export function filesWith(values: readonly string[], directories: readonly string[], except: readonly string[] = []): readonly string[] {
  const there = directories.filter((directory) => existsSync(directory))
  // Without one, grep would search where it stands.
  if (there.length === 0) return []
  const patterns = values.flatMap((value) => ['-e', value])
  const left = except.map((name) => `--exclude-dir=${name}`)
  // What comes and goes meanwhile is no failure: only what was found counts.
  const { stdout } = spawnSync('/bin/grep', ['-rlaF', '-D', 'skip', ...left, ...patterns, '--', ...there], { encoding: 'utf8' })
  return stdout.split('\n').filter((line) => line !== '')
}
