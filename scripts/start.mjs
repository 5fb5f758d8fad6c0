// `npm start`: from a fresh clone to a running app. Needs Node and git, nothing else; a second run does only what has changed.
import { spawn } from 'node:child_process'
import { join } from 'node:path'
import { assertNode, build, fail, installPackages, ROOT } from './setup.mjs'

await main()

async function main() {
  // The child has the terminal's Ctrl-C too, and says how it ends.
  process.on('SIGINT', () => {})
  assertNode()
  installPackages()
  build()
  const cli = join(ROOT, 'dist', 'cli', 'main.js')
  const example = join(ROOT, 'examples', 'hello')
  process.exitCode = await follow(process.execPath, [cli, 'up', '--foreground', '-s', 'hello', example, ...process.argv.slice(2)])
}

/** The terminal is the child's; its exit code is ours. */
function follow(file, args) {
  return new Promise((resolve) => {
    const child = spawn(file, args, { cwd: ROOT, stdio: 'inherit' })
    child.on('error', (error) => fail(`${file} can't be started: ${error.message}`))
    child.on('exit', (code) => resolve(code ?? 130))
  })
}
