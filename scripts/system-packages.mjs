// System packages for the tests, installed as a polite guest: no service of theirs starts, now or at the next boot, and the run says how
// to take them away again.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { run, say } from './setup.mjs'

/** invoke-rc.d and deb-systemd-invoke ask this program before they start a service; 101 = forbidden by policy (invoke-rc.d(8)). */
const POLICY = '/usr/sbin/policy-rc.d'
const MARK = '# shiplock npm test: packages start no service while it installs them'

/**
 * Installs what is missing of `packages` with apt, as root.
 * @param {readonly string[]} packages
 */
export function installPolitely(packages) {
  const before = installed()
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1', NEEDRESTART_SUSPEND: '1' }
  withServicesDenied(POLICY, () => {
    run('apt-get', ['update', '-qq'], { env, stdio: ['ignore', 'ignore', 'inherit'] })
    run('apt-get', ['install', '--yes', '-qq', '--no-install-recommends', '-o', 'Dpkg::Options::=--force-confold', ...packages], {
      env,
      stdio: ['ignore', 'ignore', 'inherit'],
    })
  })
  const added = [...installed()].filter((name) => !before.has(name)).sort()
  if (added.length === 0) return
  const units = added.flatMap((name) => unitsIn(listFiles(name)))
  // Works without a running systemd, too, and takes the links of SysV with it.
  for (const unit of units) spawnSync('systemctl', ['disable', unit], { stdio: 'ignore' })
  say(
    `Installed ${added.length} packages; none of their services was started or will be at the next boot${units.length > 0 ? ` (disabled: ${units.join(', ')})` : ''}.`,
  )
  say(`To take them away again: apt-get purge ${added.join(' ')}`)
}

/**
 * Runs `work` while no package may start a service; what stood at `path` before stands there afterwards, also after Ctrl-C.
 * @param {string} path
 * @param {() => void} work
 */
export function withServicesDenied(path, work) {
  const kept = `${path}.before-shiplock`
  // A run that was killed in the middle left its own file, and beside it what had been there.
  if (!isOurs(path) && existsSync(path)) renameSync(path, kept)
  const ignore = () => {}
  process.on('SIGINT', ignore)
  process.on('SIGTERM', ignore)
  try {
    writeFileSync(path, `#!/bin/sh\n${MARK}\nexit 101\n`)
    chmodSync(path, 0o755)
    work()
  } finally {
    if (isOurs(path)) rmSync(path)
    if (existsSync(kept)) renameSync(kept, path)
    process.off('SIGINT', ignore)
    process.off('SIGTERM', ignore)
  }
}

/**
 * Names of the units among the files of a package, those that could start something by themselves.
 * @param {readonly string[]} files
 */
export function unitsIn(files) {
  const names = files.flatMap((file) => /\/systemd\/system\/([^/@]+\.(?:service|socket|timer))$/.exec(file)?.[1] ?? [])
  return [...new Set(names)]
}

function isOurs(path) {
  return existsSync(path) && readFileSync(path, 'utf8').includes(MARK)
}

function installed() {
  const { stdout } = spawnSync('dpkg-query', ['--show', '--showformat', '${db:Status-Abbrev} ${binary:Package}\n'], { encoding: 'utf8' })
  const names = (stdout ?? '').split('\n').flatMap((line) => /^ii +(\S+)$/.exec(line)?.[1] ?? [])
  return new Set(names)
}

function listFiles(name) {
  return (spawnSync('dpkg', ['--listfiles', name], { encoding: 'utf8' }).stdout ?? '').split('\n')
}
