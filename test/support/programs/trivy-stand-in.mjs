#!/usr/bin/env node
// Stands in for Trivy in tests: the same command line (docs/guide/references/configuration/cli of aquasecurity/trivy), the same reactions.
// Copied to a directory as `trivy`; `plan.json` beside it says how it behaves, `calls.jsonl` beside it tells how it was called.
import { appendFileSync, closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, unlinkSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { dirname, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

const here = dirname(fileURLToPath(import.meta.url))
const plan = JSON.parse(readFileSync(join(here, 'plan.json'), 'utf8'))
const tell = (fact) => appendFileSync(join(here, 'calls.jsonl'), `${JSON.stringify(fact)}\n`)

const BOOLEAN = /^(true|false)$/
const COMMON = {
  '--cache-dir': /^\/.+/,
  '--debug': BOOLEAN,
  '--quiet': BOOLEAN,
  '--timeout': /^(\d+(\.\d+)?(h|m|s|ms))+$/,
  '--config': /.+/,
  '--insecure': BOOLEAN,
  '--cacert': /.+/,
}
const SCAN = {
  ...COMMON,
  '--cache-backend': /^(fs|memory|rediss?:\/\/.+)$/,
  '--db-repository': /.+/,
  '--java-db-repository': /.+/,
  '--exit-code': /^\d+$/,
  '--format': /^(table|json|template|sarif|cyclonedx|spdx|spdx-json|github|cosign-vuln)$/,
  '--ignore-unfixed': BOOLEAN,
  '--list-all-pkgs': BOOLEAN,
  '--no-progress': BOOLEAN,
  '--offline-scan': BOOLEAN,
  '--output': /.+/,
  '--parallel': /^\d+$/,
  '--pkg-types': /^(os|library)(,(os|library))*$/,
  '--scanners': /^(vuln|misconfig|secret|license)(,(vuln|misconfig|secret|license))*$/,
  '--server': /^https?:\/\/.+/,
  '--severity': /^(UNKNOWN|LOW|MEDIUM|HIGH|CRITICAL)(,(UNKNOWN|LOW|MEDIUM|HIGH|CRITICAL))*$/,
  '--skip-db-update': BOOLEAN,
  '--skip-files': /.+/,
  '--skip-java-db-update': BOOLEAN,
  '--token': /.+/,
}
const FLAGS = {
  image: {
    ...SCAN,
    '--image-src': /^(docker|containerd|podman|remote)(,(docker|containerd|podman|remote))*$/,
    '--input': /.+/,
    '--platform': /.+/,
  },
  fs: SCAN,
  rootfs: SCAN,
  version: { ...COMMON, '--format': /^json$/ },
}

const fatal = (message) => {
  process.stderr.write(`2026-11-20T08:30:00Z\tFATAL\tFatal error\t${message}\n`)
  process.exit(1)
}
const usage = (message) => {
  process.stderr.write(`Error: ${message}\nUsage:\n  trivy image [flags] IMAGE_NAME\n\nFlags:\n  ...\n`)
  process.exit(1)
}

function parse([command, ...rest]) {
  const known = FLAGS[command]
  if (known === undefined) usage(`unknown command "${command}" for "trivy"`)
  const flags = new Map()
  const targets = []
  while (rest.length > 0) {
    const word = rest.shift()
    if (!word.startsWith('-')) {
      targets.push(word)
      continue
    }
    const [name, inline] = word.split(/=(.*)/s)
    const form = known[name]
    if (form === undefined || plan.unknownFlags?.includes(name)) usage(`unknown flag: ${name}`)
    const value = inline ?? (form === BOOLEAN ? 'true' : rest.shift())
    if (value === undefined) usage(`flag needs an argument: ${name}`)
    if (!form.test(value)) usage(`invalid argument "${value}" for "${name}" flag`)
    flags.set(name, [...(flags.get(name) ?? []), value])
  }
  return { command, flags, targets }
}

const { command, flags, targets } = parse(process.argv.slice(2))
const cache = flags.get('--cache-dir')?.[0] ?? join(process.env.HOME, '.cache/trivy')
const metadata = join(cache, 'db/metadata.json')
const javaMetadata = join(cache, 'java-db/metadata.json')
const metadataOf = (file = metadata) => (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : undefined)
tell({ at: Date.now(), command, args: process.argv.slice(2), env: process.env, cwd: readdirSync(process.cwd()), pid: process.pid })

if (command === 'version') {
  process.stdout.write(
    `${JSON.stringify({ Version: plan.version ?? '0.69.3', VulnerabilityDB: metadataOf(), JavaDB: metadataOf(javaMetadata) })}\n`,
  )
  process.exit(0)
}
if (targets.length !== 1) usage('multiple targets cannot be specified')
if (flags.get('--format')?.[0] !== 'json') fatal('the stand-in only prints JSON')
const isServed = flags.has('--server')
if (isServed && plan.token !== undefined && process.env.TRIVY_TOKEN !== plan.token) fatal('twirp error unauthenticated: invalid token')
if (command !== 'image' && !existsSync(targets[0])) fatal(`run error: fs scan error: stat ${targets[0]}: no such file or directory`)

if (command === 'image' && plan.asksEngine === true) await inspectImage(targets[0])
if (!isServed) await prepareDatabase()
if (plan.failing?.includes(command)) fatal(`run error: ${command} scan error: scan error: ${plan.failing[0]} was told to fail`)
if (command === 'rootfs' || command === 'image') prepareJavaDatabase()
const unlock = command === 'image' && !isServed && (flags.get('--cache-backend')?.[0] ?? 'fs') === 'fs' ? lockCache() : () => {}
process.stderr.write('2026-11-20T08:30:00Z\tINFO\t[vuln] Vulnerability scanning is enabled\n')
for (const line of plan.stderr ?? []) process.stderr.write(`${line}\n`)
if (plan.sleepMs !== undefined && (plan.sleepsIn ?? command) === command) await sleep(plan.sleepMs)
if (plan.killedBy !== undefined) process.kill(process.pid, plan.killedBy)
unlock()
if (plan.exitCode !== undefined) process.exit(plan.exitCode)
const report = plan.stdout ?? readFileSync(plan.reports[command], 'utf8')
process.stdout.write(report, () => {
  tell({ at: Date.now(), ended: command, pid: process.pid })
})

/** As Trivy's docker source does, with the engine that DOCKER_HOST names. */
async function inspectImage(name) {
  const socketPath = /^unix:\/\/(.+)$/.exec(process.env.DOCKER_HOST ?? '')?.[1]
  if (flags.get('--image-src')?.[0] !== 'docker' || socketPath === undefined) fatal('image scan error: docker error: no engine is named')
  const status = await new Promise((resolve, reject) => {
    const asked = request({ socketPath, path: `/images/${encodeURIComponent(name)}/json` }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve(answer.statusCode))
    })
    asked.on('error', reject)
    asked.end()
  })
  if (status !== 200) fatal(`image scan error: docker error: unable to inspect the image (${name}): Error response from daemon: ${status}`)
}

/** bbolt's lock: a process that holds it keeps the others out; after five seconds they give up. */
function lockCache() {
  mkdirSync(join(cache, 'fanal'), { recursive: true })
  const file = join(cache, 'fanal/lock')
  if (plan.cacheIsBusy === true || existsSync(file)) {
    fatal(
      'run error: image scan error: scan error: unable to initialize a scan service: unable to initialize fs cache: cache may be in use by another process: timeout',
    )
  }
  closeSync(openSync(file, 'wx'))
  return () => unlinkSync(file)
}

/** As the analyzer of Java archives does: the database is opened for the first archive that is met. */
function prepareJavaDatabase() {
  const isSkipped = ['jar', 'war', 'par', 'ear'].every((ending) => flags.get('--skip-files')?.includes(`**/*.${ending}`))
  const hasArchive =
    command === 'image' ? plan.imageHasJar === true : readdirSync(targets[0], { recursive: true }).some((name) => /\.[jwpe]ar$/.test(name))
  if (isSkipped || !hasArchive || metadataOf(javaMetadata) !== undefined) return
  const wrapped = `run error: ${command} scan error: scan error: scan failed: failed analysis: post analysis error: post analysis error: Unable to initialize the Java DB: Java DB update failed:`
  if (flags.has('--skip-java-db-update')) fatal(`${wrapped} '--skip-java-db-update' cannot be specified on the first run`)
  if (plan.javaDatabaseIsDown === true) fatal(`${wrapped} OCI artifact error: failed to download Java DB: dial tcp: no such host`)
  mkdirSync(dirname(javaMetadata), { recursive: true })
  writeFileSync(javaMetadata, JSON.stringify({ Version: 1, UpdatedAt: new Date().toISOString(), DownloadedAt: new Date().toISOString() }))
}

/** A file that bbolt maps and that ends too early: Go's runtime ends the program, with a stack of all goroutines. */
function crash() {
  const frames = Array.from(
    { length: 60 },
    (_, at) => `go.etcd.io/bbolt.(*DB).page(${at})\n\t/go/pkg/mod/go.etcd.io/bbolt/db.go:${at} +0x17c\n`,
  )
  process.stderr.write(
    `unexpected fault address 0x7f82fed68008\nfatal error: fault\n[signal SIGBUS: bus error]\n\n${frames.join('')}main.main()\n\tmain.go:50 +0x17c\n`,
  )
  process.exit(2)
}

async function prepareDatabase() {
  if (plan.database === 'truncated') crash()
  if (plan.database === 'random')
    fatal('run error: init error: DB error: error in vulnerability DB initialize: failed to open db: invalid database')
  if (flags.has('--skip-db-update')) {
    if (metadataOf() === undefined) fatal('run error: init error: DB error: --skip-db-update cannot be specified on the first run')
    return
  }
  if (plan.databaseIsDown === true) {
    process.stderr.write('2026-11-20T08:30:00Z\tINFO\t[vulndb] Need to update DB\n')
    fatal(
      'run error: init error: DB error: failed to download vulnerability DB: OCI artifact error: failed to download artifact: Get "https://mirror.gcr.io/v2/": dial tcp: no such host',
    )
  }
  mkdirSync(dirname(metadata), { recursive: true })
  const updatedAt = plan.databaseAt ?? new Date(Date.now() - 3_600_000).toISOString()
  const next = new Date(Date.parse(updatedAt) + 6 * 3_600_000).toISOString()
  writeFileSync(metadata, JSON.stringify({ Version: 2, NextUpdate: next, UpdatedAt: updatedAt, DownloadedAt: new Date().toISOString() }))
}
