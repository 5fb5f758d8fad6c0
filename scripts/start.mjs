// `npm start`: from a fresh clone to a running app. Needs Node and git, nothing else; a second run does only what has changed.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { cp, mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { assertNode, build, fail, installPackages, ROOT, say } from './setup.mjs'

await main()

async function main() {
  // The child has the terminal's Ctrl-C too, and says how it ends.
  process.on('SIGINT', () => {})
  assertNode()
  installPackages()
  build()
  const repository = await prepareRepository()
  const cli = join(ROOT, 'dist', 'cli', 'main.js')
  process.exitCode = await follow(process.execPath, [
    cli,
    'up',
    '--foreground',
    '-s',
    'hello',
    pathToFileURL(repository).href,
    ...process.argv.slice(2),
  ])
}

/** A git repository with what examples/hello holds now; a commit is made only when that has changed. */
async function prepareRepository() {
  const { clientSettings } = await import(pathToFileURL(join(ROOT, 'dist', 'config', 'settings.js')).href)
  const repository = join(clientSettings(process.env).dataDirectory, 'demo', 'hello')
  await mkdir(repository, { recursive: true })
  if (!existsSync(join(repository, '.git', 'HEAD'))) {
    say(`Making a git repository of examples/hello in ${repository} …`)
    git(repository, 'init', '--quiet')
    git(repository, 'symbolic-ref', 'HEAD', 'refs/heads/main')
  }
  for (const name of await readdir(repository)) if (name !== '.git') await rm(join(repository, name), { recursive: true, force: true })
  await cp(join(ROOT, 'examples', 'hello'), repository, { recursive: true, filter: (source) => !source.includes('node_modules') })
  git(repository, 'add', '--all')
  if (git(repository, 'status', '--porcelain').trim() !== '') {
    say('Committing examples/hello to it …')
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
  if (result.error?.code === 'ENOENT') fail('git is not installed; install it, e.g. `apt-get install git`')
  if (result.status !== 0) fail(`git ${args[0]} failed in ${directory}: ${result.stderr.trim()}`)
  return result.stdout
}

/** The terminal is the child's; its exit code is ours. */
function follow(file, args) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: ROOT, stdio: 'inherit' })
    child.on('error', (error) => fail(`${file} can't be started: ${error.message}`))
    child.on('exit', (code) => resolve(code ?? 130))
  })
}
