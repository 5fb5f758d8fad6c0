// npm test: installs what the tests need, builds, runs every test, ends with one line that counts them.
// `npm test -- PATTERN …` runs only the files that match; `npm test -- --quick` those that need no process, database or container.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { supportedNodes } from './node-lines.mjs'
import { assertNode, build, canInstallSystemPackages, fail, installPackages, ROOT, say } from './setup.mjs'
import { installPolitely } from './system-packages.mjs'

/** Programs that tests use beside Node, and the Debian package that has each. Without one its tests are skipped, and say why. */
const PROGRAMS = [
  { program: 'git', package: 'git', why: 'git sources' },
  { program: 'bwrap', package: 'bubblewrap', why: 'the sandbox' },
  { program: 'setpriv', package: 'util-linux', why: 'a user per environment' },
  { program: 'ssh', package: 'openssh-client', why: 'git over ssh' },
  { program: 'sshd', package: 'openssh-server', why: 'private repositories over ssh' },
  { program: 'openssl', package: 'openssl', why: 'certificates of test servers' },
  { program: 'python3', package: 'python3', why: 'the Python example' },
  { program: 'docker-registry', package: 'docker-registry', why: 'publishing to a registry' },
  { program: 'dockerd', package: 'docker.io', why: 'containers' },
  { program: 'ip', package: 'iproute2', why: 'networks of instances, a container engine of its own' },
  { program: 'nft', package: 'nftables', why: 'networks of instances' },
  { program: 'iptables', package: 'iptables', why: 'a container engine of its own' },
  { program: 'busybox', package: 'busybox-static', why: 'base images' },
  { program: 'mkfs.ext4', package: 'e2fsprogs', why: 'volumes that tests fill' },
  { program: 'cc', package: 'gcc libc6-dev', why: 'the example with native code' },
]
const SEARCH_PATH = [...(process.env.PATH ?? '').split(':'), '/usr/local/sbin', '/usr/sbin', '/sbin', '/usr/bin', '/bin']

/** What the other lines of Node run: the pure parts, the engine's and the edge's stories, and kill -9 at every place of the edge. */
const NODE_TESTS = ['src/', 'test/e2e/engine-pipeline', 'test/e2e/edge-swap', 'test/e2e/story-start', 'test/crash/edge-points']

const words = process.argv.slice(2).filter((word) => word !== '--quick' && word !== '--every-node')
const isQuick = process.argv.includes('--quick')
const wantedTests = isQuick ? ['--project', 'unit', ...words] : words

assertNode()
installPackages()
const missing = isQuick ? [] : installSystemPackages()
if (!isQuick) build()
process.exitCode = summarize(runs().map(runTests))

/** Returns the programs that are still missing. */
function installSystemPackages() {
  const wanted = PROGRAMS.filter((entry) => !isThere(entry.program))
  if (wanted.length === 0) return []
  const packages = [...new Set(wanted.flatMap((entry) => entry.package.split(' ')))]
  if (!canInstallSystemPackages()) {
    for (const entry of wanted) say(`Not installed: ${entry.program} (${entry.why}). Its tests are skipped.`)
    say(`To run them too: sudo apt-get install --yes --no-install-recommends ${packages.join(' ')}`)
    return wanted
  }
  say(`Installing system packages: ${packages.join(', ')} …`)
  installPolitely(packages)
  return PROGRAMS.filter((entry) => !isThere(entry.program))
}

function isThere(program) {
  return SEARCH_PATH.some((directory) => directory !== '' && existsSync(join(directory, program)))
}

/** This Node runs all that is wanted; in CI, and with --every-node, the lines that are supported run the core of it too. */
function runs() {
  const own = { node: process.execPath, name: process.version, args: wantedTests }
  const isWhole = process.argv.length === 2 && process.env.CI === 'true'
  if (!isWhole && !process.argv.includes('--every-node')) return [own]
  return [...supportedNodes().map((node) => ({ ...node, args: NODE_TESTS })), own]
}

function runTests({ node, name, args }) {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-report-'))
  const report = join(directory, 'report.json')
  try {
    say(`Testing on Node ${name} …`)
    const vitest = join(ROOT, 'node_modules', 'vitest', 'vitest.mjs')
    const reporters = ['--reporter=default', `--reporter=${join(ROOT, 'scripts', 'count-reporter.mjs')}`]
    // npm, npx and node of what the tests start are found beside the Node that runs them.
    const env = { ...process.env, SHIPLOCK_TEST_REPORT: report, PATH: `${dirname(node)}:${process.env.PATH ?? ''}` }
    const { status, error } = spawnSync(node, [vitest, 'run', ...args, ...reporters], { cwd: ROOT, stdio: 'inherit', env })
    if (error !== undefined) fail(`can't start vitest: ${error.message}`)
    if (!existsSync(report)) fail('vitest ended without a report')
    return { name, status: status ?? 1, ...JSON.parse(readFileSync(report, 'utf8')) }
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}

/** Prints one line that counts all runs, and what was left out; returns the exit code. */
function summarize(results) {
  if (missing.length > 0) say(`Not installed: ${missing.map((entry) => entry.program).join(', ')}`)
  for (const { name, skipped } of results) for (const { test, note } of skipped) say(`skipped on ${name}: ${test} (${note})`)
  const sum = (count) => results.reduce((total, result) => total + count(result), 0)
  const [passed, byDesign, skipped] = [
    sum((result) => result.passed),
    sum((result) => result.byDesign),
    sum((result) => result.skipped.length),
  ]
  if (byDesign > 0) say(`${byDesign} cases were left out of drivers that can't have them, as their suites say.`)
  const isSkipFailure = process.env.CI === 'true' && skipped > 0
  if (isSkipFailure) say('Skipped tests count as failures in CI.')
  // A hook or a file that failed has no test case of its own.
  const failed = sum((result) => Math.max(result.failed, result.status === 0 ? 0 : 1))
  say(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`)
  return failed > 0 || passed === 0 || isSkipFailure ? 1 : 0
}
