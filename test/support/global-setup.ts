import { randomBytes } from 'node:crypto'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestProject } from 'vitest/node'
import { stopEmbedded } from '../../src/store/embedded.ts'
import { removeDockerd } from './dockerd-removal.ts'
import { removeLostMemory } from './memory-directories.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Data directory of the run's shared PostgreSQL, which the first test that wants one starts. */
    testDatabaseDirectory: string
    /** Place of the run's shared container engine, which the first test that wants one starts, and the process it must not outlive. */
    testDockerd: { readonly directory: string; readonly owner: number }
  }
}

let directory: string | null = null
let dockerdDirectory: string | null = null

export async function setup(project: TestProject): Promise<void> {
  directory = await mkdtemp(join(tmpdir(), 'shiplock-test-db-'))
  // As root, PostgreSQL runs as `nobody`, who has to pass.
  await chmod(directory, 0o711)
  project.provide('testDatabaseDirectory', directory)
  // Short, since socket paths are; made by who starts the engine.
  dockerdDirectory = `/tmp/sld-${randomBytes(4).toString('hex')}`
  project.provide('testDockerd', { directory: dockerdDirectory, owner: process.pid })
}

export async function teardown(): Promise<void> {
  removeLostMemory()
  if (dockerdDirectory !== null) await removeDockerd(dockerdDirectory, null)
  if (directory === null) return
  await stopEmbedded({ dataDirectory: directory, sharedBase: join(directory, 'shared') })
  await rm(directory, { recursive: true, force: true })
}
