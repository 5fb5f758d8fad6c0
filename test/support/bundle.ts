import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

interface Rolldown {
  build(options: Readonly<Record<string, unknown>>): Promise<unknown>
}

/**
 * A TypeScript program of test/support as one file that plain Node runs, with all it imports inside: for tests that need a process of
 * their own (to kill it, or to run it as another user). Uses the bundler that vitest brings along.
 */
export async function bundle(entry: string, outputDirectory?: string): Promise<string> {
  const vitest = createRequire(createRequire(import.meta.url).resolve('vitest/package.json'))
  const vite = createRequire(vitest.resolve('vite/package.json'))
  const { build } = (await import(vite.resolve('rolldown'))) as Rolldown
  const directory = outputDirectory ?? (await mkdtemp(join(tmpdir(), 'shiplock-bundle-')))
  await mkdir(directory, { recursive: true })
  const file = join(directory, 'program.mjs')
  await build({
    // From the root, so that it is found from a bundle of the benchmarks too, two levels deep as this file is.
    input: resolve(import.meta.dirname, '../../test/support', entry),
    platform: 'node',
    logLevel: 'silent',
    external: ['pg-native'],
    output: { file, format: 'esm', codeSplitting: false },
  })
  return file
}

export async function removeBundle(file: string): Promise<void> {
  await rm(dirname(file), { recursive: true, force: true })
}
