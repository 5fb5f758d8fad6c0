import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, resolve } from 'node:path'

const ROOT = resolve(import.meta.dirname, '../..')
const STAMP = join(ROOT, 'dist/.tsbuildinfo')
const LOCK = join(ROOT, 'node_modules/.shiplock-build-lock')
const LOCK_STALE_MS = 120_000

/** Builds `dist/` when a source file is newer than it, once even when several test processes ask. Needed because Node 20 runs no TypeScript. */
export function ensureBuilt(): void {
  while (isStale()) {
    if (!lock()) {
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 50)
      continue
    }
    try {
      if (isStale()) build()
    } finally {
      rmSync(LOCK, { recursive: true, force: true })
    }
    return
  }
}

/** The built twin of `src/<path>.ts`. */
export function builtFile(path: string): string {
  return join(ROOT, 'dist', path.replace(/\.ts$/, '.js'))
}

function build(): void {
  const require = createRequire(import.meta.url)
  const compiler = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  const result = spawnSync(process.execPath, [compiler, '-p', 'tsconfig.build.json'], { cwd: ROOT, encoding: 'utf8' })
  // Type errors are the checker's business; what matters here is that files came out.
  if (mtime(STAMP) === 0) throw new Error(`the build failed:\n${result.stdout}${result.stderr}`)
}

function isStale(): boolean {
  return newest(join(ROOT, 'src')) > mtime(STAMP)
}

function newest(directory: string): number {
  let latest = 0
  for (const entry of readdirSync(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) latest = Math.max(latest, newest(path))
    else if (entry.name.endsWith('.ts') && !entry.name.endsWith('.test.ts')) latest = Math.max(latest, mtime(path))
  }
  return latest
}

function mtime(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0
}

function lock(): boolean {
  try {
    mkdirSync(LOCK)
    return true
  } catch {
    const age = Date.now() - mtime(LOCK)
    if (age > LOCK_STALE_MS) rmSync(LOCK, { recursive: true, force: true })
    return false
  }
}
