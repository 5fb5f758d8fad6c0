// What `npm start` and `npm test` need before anything else: a recent Node, the packages of the lock file, the built program.
// No dependencies: it runs before they are there.
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const ROOT = fileURLToPath(new URL('..', import.meta.url))

export function say(text) {
  process.stdout.write(`${text}\n`)
}

/** Runs a program from an argv array; ends this process with its exit code when it fails. */
export function run(file, args, options = {}) {
  const result = spawnSync(file, args, { cwd: ROOT, stdio: 'inherit', ...options })
  if (result.error !== undefined) fail(`can't start ${file}: ${result.error.message}`)
  if (result.status !== 0) process.exit(result.status ?? 1)
}

export function fail(text) {
  process.stderr.write(`${text}\n`)
  process.exit(4)
}

export function assertNode() {
  const [major, minor] = process.versions.node.split('.').map(Number)
  if (major < 20 || (major === 20 && minor < 19)) fail(`Shiplock needs Node 20.19 or newer; this is ${process.version}.`)
}

/**
 * `npm ci` when packages are missing or the lock file is newer than what it installed. The development ones too: the compiler is among
 * them. A lock file made where the registry lacks other platforms' packages is incomplete to `npm ci`, but not to `npm install`.
 */
export function installPackages() {
  const marker = join(ROOT, 'node_modules', '.package-lock.json')
  const lock = join(ROOT, 'package-lock.json')
  if (existsSync(marker) && statSync(marker).mtimeMs >= statSync(lock).mtimeMs) return
  say('Installing npm packages …')
  const options = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const ci = spawnSync('npm', ['ci', ...options], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'inherit', 'pipe'] })
  if (ci.status === 0) return
  if (ci.stderr?.includes('EUSAGE') === true) {
    say('The lock file does not list every platform: npm install --no-save …')
    return run('npm', ['install', '--no-save', ...options])
  }
  fail(`${ci.stderr ?? ci.error?.message ?? ''}npm ci failed; it needs to reach the npm registry`)
}

/** Compiles when a source is newer than the last build. */
export function build() {
  const marker = join(ROOT, 'dist', '.tsbuildinfo')
  const newest = Math.max(newestIn(join(ROOT, 'src')), statSync(join(ROOT, 'tsconfig.build.json')).mtimeMs)
  if (existsSync(join(ROOT, 'dist', 'main.js')) && existsSync(marker) && statSync(marker).mtimeMs >= newest) return
  say('Building …')
  run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.build.json'])
}

function newestIn(directory) {
  return Math.max(
    ...readdirSync(directory, { withFileTypes: true }).map((entry) => {
      const path = join(directory, entry.name)
      return entry.isDirectory() ? newestIn(path) : statSync(path).mtimeMs
    }),
  )
}

/** True on Debian and Ubuntu with apt, as root: then missing system packages can be installed by us. */
export function canInstallSystemPackages() {
  if (process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get')) return false
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release)
}
