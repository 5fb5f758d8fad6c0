// The supported lines of Node, as the binaries that the npm registry has: the tests run on each.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fail, ROOT, say } from './setup.mjs'

/** Exact, so that a run can be repeated; TESTED_NODE_LINES of src/core/node-release.ts names the lines. */
const VERSIONS = ['22.23.3', '24.21.0', '26.12.1']

/** Brings them into a cache of this checkout. Returns the program of each. */
export function supportedNodes() {
  return VERSIONS.map((version) => {
    const directory = join(ROOT, 'node_modules', '.cache', 'node', version)
    const node = join(directory, 'node_modules', `node-linux-${process.arch}`, 'bin', 'node')
    if (!existsSync(node)) bring(version, directory)
    return { node, name: `v${version}` }
  })
}

function bring(version, directory) {
  say(`Bringing Node ${version} …`)
  mkdirSync(directory, { recursive: true })
  const args = ['install', '--prefix', directory, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--loglevel=error']
  const { status } = spawnSync('npm', [...args, `node-linux-${process.arch}@${version}`], { stdio: 'inherit' })
  if (status !== 0) fail(`can't bring Node ${version}: the npm registry has to be reached`)
}
