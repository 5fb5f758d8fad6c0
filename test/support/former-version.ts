import { execFileSync, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { inTurn } from './in-turn.ts'

const ROOT = resolve(import.meta.dirname, '../..')
const CACHE = join(ROOT, 'node_modules/.cache/shiplock-versions')

/**
 * The program of an earlier commit of this repository, built as it was then from its own lock file; returns its `dist/main.js`. Kept
 * between runs. Throws when the clone does not have the commit.
 */
export async function formerVersion(commit: string): Promise<string> {
  mkdirSync(CACHE, { recursive: true })
  const directory = join(CACHE, commit)
  const program = join(directory, 'dist/main.js')
  if (existsSync(program)) return program
  return inTurn(CACHE, `version-${commit}`, async () => {
    if (existsSync(program)) return program
    assertThere(commit)
    const draft = `${directory}.${process.pid}`
    rmSync(draft, { recursive: true, force: true })
    mkdirSync(draft)
    const archive = execFileSync('git', ['archive', '--format=tar', commit], { cwd: ROOT, maxBuffer: 1 << 30 })
    execFileSync('tar', ['-x', '-C', draft], { input: archive })
    run(draft, 'npm', ['ci', '--no-audit', '--no-fund', '--loglevel=error', '--prefer-offline'])
    run(draft, process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'])
    renameSync(draft, directory)
    return program
  })
}

function assertThere(commit: string): void {
  const found = spawnSync('git', ['cat-file', '-e', `${commit}^{commit}`], { cwd: ROOT, encoding: 'utf8' })
  if (found.status !== 0)
    throw new Error(`this clone has no commit ${commit}: fetch the whole history (git fetch --unshallow)\n${found.stderr}`)
}

function run(directory: string, program: string, args: readonly string[]): void {
  const result = spawnSync(program, args, { cwd: directory, encoding: 'utf8' })
  if (result.status !== 0)
    throw new Error(`${program} ${args.join(' ')} ended with ${result.status}\n${result.stdout}${result.stderr}`.slice(-4000))
}
