// `npm start`: from a fresh clone to a running app. Needs Node and git, nothing else; a second run does only what has changed.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { dirname, join, relative, resolve as resolvePath } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

const ROOT = dirname(dirname(fileURLToPath(import.meta.url)))
const NODE_NEEDED = [20, 19]
const isColored = process.stdout.isTTY && !process.env.NO_COLOR
const paint = (code, text) => (isColored ? `\u001b[${code}m${text}\u001b[0m` : text)

await main()

async function main() {
  // The child has the terminal's Ctrl-C too, and says how it ends.
  process.on('SIGINT', () => {})
  checkNode()
  await install()
  await build()
  const repository = await prepareRepository()
  const cli = join(ROOT, 'dist', 'cli', 'main.js')
  process.exitCode = await run(process.execPath, [
    cli,
    'up',
    '--foreground',
    '-s',
    'hello',
    pathToFileURL(repository).href,
    ...process.argv.slice(2),
  ])
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > NODE_NEEDED[0] || (major === NODE_NEEDED[0] && minor >= NODE_NEEDED[1])) return
  fail(`Node ${process.versions.node} is too old`, `Install Node ${NODE_NEEDED.join('.')} or newer.`)
}

async function install() {
  const [lock, installed] = await Promise.all([modifiedAt('package-lock.json'), modifiedAt('node_modules/.package-lock.json')])
  if (installed !== null && installed >= (lock ?? 0)) return
  step('installing dependencies (npm ci)')
  // With the development ones: the compiler is among them.
  const options = ['--include=dev', '--no-audit', '--no-fund', '--loglevel=error']
  const ci = spawnSync('npm', ['ci', ...options], { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'inherit', 'pipe'] })
  if (ci.status === 0) return
  // A lock file made where the registry lacks other platforms' packages is incomplete to `npm ci`, not to `npm install`.
  if (!ci.stderr?.includes('EUSAGE')) {
    process.stderr.write(ci.stderr ?? `${ci.error?.message}\n`)
    fail('npm ci failed', 'Its output above says why; it needs to reach the npm registry.')
  }
  step('the lock file does not list every platform: npm install --no-save')
  const code = await run('npm', ['install', '--no-save', ...options])
  if (code !== 0) fail('npm install failed', 'Its output above says why; it needs to reach the npm registry.')
}

async function build() {
  const stampFile = join(ROOT, 'dist', '.stamp')
  const stamp = await sourceStamp()
  if ((await readFile(stampFile, 'utf8').catch(() => '')) === stamp) return
  step('building (tsc)')
  const code = await run('npm', ['run', '--silent', 'build'])
  if (code !== 0) fail('the build failed', 'The compiler output above names the place.')
  await writeFile(stampFile, stamp)
}

/** Changes when any source file does, also when one is removed. */
async function sourceStamp() {
  const hash = createHash('sha256')
  const files = ['package.json', 'tsconfig.json', 'tsconfig.build.json', ...(await listFiles(join(ROOT, 'src')))]
  for (const file of files.filter((name) => !name.endsWith('.test.ts')).sort()) {
    const { mtimeMs, size } = await stat(join(ROOT, file))
    hash.update(`${file} ${mtimeMs} ${size}\n`)
  }
  return hash.digest('hex')
}

async function listFiles(directory) {
  const entries = await readdir(directory, { withFileTypes: true })
  const lists = await Promise.all(
    entries.map((entry) => {
      const path = join(directory, entry.name)
      return entry.isDirectory() ? listFiles(path) : [relative(ROOT, path)]
    }),
  )
  return lists.flat()
}

/** A git repository with what examples/hello holds now; a commit is made only when that has changed. */
async function prepareRepository() {
  const { clientSettings } = await import(pathToFileURL(join(ROOT, 'dist', 'config', 'settings.js')).href)
  const repository = join(clientSettings(process.env).dataDirectory, 'demo', 'hello')
  await mkdir(repository, { recursive: true })
  if ((await modifiedAt(join(repository, '.git', 'HEAD'))) === null) {
    step(`making a git repository of examples/hello in ${repository}`)
    git(repository, 'init', '--quiet')
    git(repository, 'symbolic-ref', 'HEAD', 'refs/heads/main')
  }
  for (const name of await readdir(repository)) if (name !== '.git') await rm(join(repository, name), { recursive: true, force: true })
  await cp(join(ROOT, 'examples', 'hello'), repository, { recursive: true, filter: (source) => !source.includes('node_modules') })
  git(repository, 'add', '--all')
  if (git(repository, 'status', '--porcelain').trim() !== '') {
    step('committing examples/hello to it')
    git(repository, 'commit', '--quiet', '--no-verify', '--message', 'examples/hello')
  }
  return repository
}

/** Independent of the user's configuration: no name, signing key or hook of theirs is needed. */
function git(directory, ...args) {
  const settings = [
    'user.name=Shiplock example',
    'user.email=example@shiplock.invalid',
    'commit.gpgsign=false',
    'core.hooksPath=/dev/null',
    'core.autocrlf=false',
  ]
  const { GIT_DIR: _dir, GIT_WORK_TREE: _tree, GIT_INDEX_FILE: _index, ...env } = process.env
  const result = spawnSync('git', [...settings.flatMap((setting) => ['-c', setting]), ...args], {
    cwd: directory,
    encoding: 'utf8',
    env: { ...env, GIT_CONFIG_GLOBAL: '/dev/null', GIT_CONFIG_NOSYSTEM: '1' },
  })
  if (result.error?.code === 'ENOENT') fail('git is not installed', 'Install git, e.g. `apt-get install git`.')
  if (result.status !== 0) fail(`git ${args[0]} failed: ${result.stderr.trim()}`, `Look at ${directory}, or remove it and start again.`)
  return result.stdout
}

function run(file, args) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: ROOT, stdio: 'inherit' })
    child.on('error', (error) => fail(`${file} can't be started: ${error.message}`, 'Check the installation of Node and npm.'))
    child.on('exit', (code, signal) => resolve(code ?? (signal === null ? 1 : 130)))
  })
}

async function modifiedAt(path) {
  return stat(resolvePath(ROOT, path)).then(
    ({ mtimeMs }) => mtimeMs,
    () => null,
  )
}

function step(text) {
  process.stdout.write(`${paint(36, '→')} ${text}\n`)
}

function fail(summary, advice) {
  process.stderr.write(`${paint(31, 'ERROR')} ${summary}\n  How to solve: ${advice}\n`)
  process.exit(1)
}
