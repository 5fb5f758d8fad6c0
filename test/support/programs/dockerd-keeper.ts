import { existsSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { identify, isAlive } from '../../../src/core/process-identity.ts'
import { removeDockerd } from '../dockerd-removal.ts'

// Outlives the test run that started an engine, and removes the engine when that run is gone: `dockerd-keeper <directory> <pid>`.
const LOOK_MS = 250
const [directory = '', owner = ''] = process.argv.slice(2)
const watched = identify(Number(owner))

// Ctrl-C goes to the whole terminal; the keeper leaves when its work is done.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})

while (existsSync(directory)) {
  if (watched === null || !isAlive(watched)) await removeDockerd(directory, null)
  else await pause(LOOK_MS)
}
