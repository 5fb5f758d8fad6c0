import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { Scan } from '../../src/contract/scan.ts'
import { EXIT_CODES } from '../../src/core/errors.ts'
import { audit } from '../support/audit.ts'
import { type CliResult, runCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { StoryWorld } from '../support/story-world.ts'
import { TrivyStandIn } from '../support/trivy.ts'

const CLEAN = { fs: 'clean', rootfs: 'clean' } as const
/** Lock files with a HIGH, a program with a CRITICAL. */
const BAD = { fs: 'lock-files', rootfs: 'installed' } as const

let trivy: TrivyStandIn
let world: StoryWorld
beforeAll(async () => {
  trivy = new TrivyStandIn()
  world = await StoryWorld.begin({ env: { SHIPLOCK_TRIVY: trivy.program, SHIPLOCK_TRIVY_TOKEN: 'very-secret-token' } })
})
beforeEach(() => {
  trivy.plan({ reports: CLEAN })
  trivy.forget()
})
afterAll(async () => {
  await StoryWorld.endAll()
  trivy.remove()
})

async function attempt(service: string, version: string, scan?: Readonly<Record<string, unknown>>) {
  const repo = world.repo(service)
  repo.commit(version, {}, scan === undefined ? {} : { scan })
  const { id } = await world.server.deploy({ service, source: repo.source })
  return world.server.settled(id)
}

function cli(...args: string[]): Promise<CliResult> {
  const { server } = world
  const environment = { dataDirectory: server.dataDirectory, apiPort: Number(new URL(server.apiUrl).port), edgePort: server.edgePort }
  return runCli(environment, args)
}

const scanOf = (id: string): Promise<Scan> => world.server.call('GET', `/v1/deployments/${id}/scan`)

test('I1: a CRITICAL stops the pipeline under load; what is live never notices, and everybody can see what was found', async () => {
  const { server } = world
  await attempt('gate', 'v1')
  const load = await world.load('gate')
  trivy.plan({ reports: BAD })
  const blocked = await attempt('gate', 'v2')
  expect(blocked).toMatchObject({
    status: 'failed',
    stage: 'scan',
    scan: { outcome: 'blocked', critical: 1, high: 1, medium: 1 },
    error: {
      code: 'SCAN_BLOCKED',
      message: 'blocked by 1 CRITICAL: CVE-2024-24790 in stdlib v1.22.1 (fixed in 1.21.11, 1.22.4)',
      hint: expect.stringContaining('Update stdlib to 1.21.11, 1.22.4'),
    },
    warnings: ['scan: 1 HIGH: CVE-2022-0155 in follow-redirects 1.14.6 (fixed in 1.14.7)'],
  })
  await load.stop()
  expect(load.failures).toEqual([])
  expect([...load.versions.keys()]).toEqual(['v1'])

  const { findings, report } = await scanOf(blocked.id)
  expect(report).toMatchObject({ scanner: 'trivy', version: '0.69.3', counts: { critical: 1, high: 1, medium: 1, low: 0, unknown: 0 } })
  expect(findings.map(({ id, state }) => `${id} ${state}`)).toEqual([
    'CVE-2024-24790 blocks',
    'CVE-2022-0155 warns',
    'CVE-2023-45857 counted',
  ])
  const shown = await cli('scan', '-s', 'gate')
  expect(shown.code).toBe(EXIT_CODES.ok)
  expect(shown.stdout).toMatch(/gate {2}dep_\w+ {2}blocked/)
  expect(shown.stdout).toMatch(/CRITICAL +CVE-2024-24790 +stdlib v1\.22\.1 +1\.21\.11, 1\.22\.4 +blocks/)
  expect(shown.stdout).toContain('1 more below what any policy is about')
  expect(JSON.parse((await cli('scan', blocked.id, '--json')).stdout)).toMatchObject({ outcome: 'blocked' })

  const types = (await server.events(blocked.id)).map((event) => event.type)
  expect(types).toEqual(expect.arrayContaining(['scan.finished', 'scan.blocked', 'stage.failed']))
  const log = (await server.logLines(blocked.id)).map((line) => line.text).join('\n')
  expect(log).toContain('CRITICAL CVE-2024-24790 stdlib v1.22.1 (fixed in 1.21.11, 1.22.4) in bin/migrate: blocks')
  expect(log).toContain('Vulnerability scanning is enabled')
  await eventually(async () => expect(await audit(server, world.collector)).toEqual([]))
})

test('a waiver lets it through while it holds; a rollback to it later is warned, not stopped', async () => {
  const { server } = world
  trivy.plan({ reports: BAD })
  const waivers = [{ id: 'CVE-2024-24790', reason: 'no addresses are parsed', expires: '2999-12-31' }]
  const waived = await attempt('waived', 'v1', { waivers })
  expect(waived).toMatchObject({ status: 'running', scan: { outcome: 'warned', note: '1 critical, 1 high, 1 medium, 1 waived' } })
  expect((await cli('scan', '-s', 'waived')).stdout).toContain('waived until 2999-12-31: no addresses are parsed')
  expect((await attempt('waived', 'v2', { waivers: [{ ...waivers[0], expires: '2020-01-01' }] })).error?.code).toBe('SCAN_BLOCKED')

  // v2 only warns; v3 has nothing; back to v2.
  expect((await attempt('waived', 'v2', { critical: 'warn' })).status).toBe('running')
  trivy.plan({ reports: CLEAN })
  expect((await attempt('waived', 'v3')).warnings).toEqual([])
  const plan = await server.call('GET', '/v1/services/waived/rollback-plan?release=2')
  expect(plan.warnings).toEqual([expect.stringContaining('has 1 CRITICAL: CVE-2024-24790')])
  const { id } = await server.rollback({ service: 'waived', release: 2 })
  const back = await server.settled(id)
  expect(back).toMatchObject({ status: 'running', scan: { outcome: 'warned', critical: 1 }, warnings: plan.warnings })
  expect((await server.events(id)).map((event) => event.type)).toContain('deployment.warning')
  expect((await server.ask('waived', '/')).version).toBe('v2')

  const { items } = await server.call('GET', '/v1/services/waived/releases')
  expect(items.map((release: { number: number; scan: Scan['report'] }) => [release.number, release.scan?.counts.critical])).toEqual([
    [3, 0],
    [2, 1],
    [1, 1],
  ])
  expect((await cli('releases', 'waived')).stdout).toMatch(/v2 .*1 critical/)
})

test('the ratchet: what live has may stay, what is new may not come', async () => {
  trivy.plan({ reports: { fs: 'lock-files', rootfs: 'clean' } })
  await attempt('ratchet', 'v1', { high: 'block', critical: 'block', waivers: [{ id: 'CVE-2022-0155', reason: 'first things first' }] })
  const same = await attempt('ratchet', 'v2', { high: 'block-new' })
  expect(same).toMatchObject({ status: 'running', scan: { outcome: 'warned' } })
  expect((await scanOf(same.id)).findings[0]).toMatchObject({ id: 'CVE-2022-0155', state: 'known' })
  trivy.plan({ reports: BAD })
  expect((await attempt('ratchet', 'v3', { critical: 'block-new', high: 'block-new' })).error).toMatchObject({
    code: 'SCAN_BLOCKED',
    message: expect.stringMatching(/^blocked by 1 CRITICAL: CVE-2024-24790/),
  })
})

test('an identical tree is not scanned again', async () => {
  const { server } = world
  const first = await attempt('twice', 'v1')
  const scans = trivy.scans().length
  const { id } = await server.deploy({ service: 'twice', source: world.repo('twice').source, options: { rebuild: true } })
  expect((await server.settled(id)).stages.find((stage) => stage.stage === 'scan')).toMatchObject({ outcome: 'skipped' })
  expect(trivy.scans()).toHaveLength(scans)
  expect((await scanOf(id)).report?.deploymentId).toBe(first.id)
})

test('a tree in which nothing is recognised goes live, and is not called clean', async () => {
  trivy.plan({ reports: { fs: 'nothing-recognised', rootfs: 'nothing-recognised' } })
  const deployed = await attempt('opaque', 'v1')
  expect(deployed).toMatchObject({ status: 'running', scan: { outcome: 'unknown', note: expect.stringContaining('nothing recognised') } })
  expect(deployed.warnings).toHaveLength(1)
})

describe('a scanner that fails', () => {
  test('lets a tree go live, with a warning that tells why', async () => {
    trivy.plan({ exitCode: 1, stderr: ['2026-11-20T08:30:00Z\tFATAL\tFatal error\trun error: out of inodes'] })
    const deployed = await attempt('shaky', 'v1')
    expect(deployed).toMatchObject({ status: 'running', scan: { outcome: 'unknown' } })
    expect(deployed.warnings).toEqual([expect.stringMatching(/^scan: not scanned: trivy ended with 1: .*out of inodes/)])
  })

  test('ends the deployment where the service wants that', async () => {
    trivy.plan({ killedBy: 'SIGKILL' })
    const { error } = await attempt('strict', 'v1', { onScannerFailure: 'fail' })
    expect(error).toMatchObject({ code: 'SCANNER_FAILED', message: expect.stringContaining('was killed') })
  })
})

test('a cancel while it scans ends the program first', async () => {
  const { server } = world
  trivy.plan({ sleepMs: 60_000 })
  const repo = world.repo('called-off')
  repo.commit('v1')
  const { id } = await server.deploy({ service: 'called-off', source: repo.source })
  await eventually(async () => expect(trivy.scans()).toHaveLength(1), { withinMs: 30_000 })
  await server.call('POST', `/v1/deployments/${id}/cancel`, {})
  expect((await server.settled(id)).status).toBe('canceled')
  expect(server.processes().filter(({ command }) => command.includes(trivy.program))).toEqual([])
})

test('I5: kill -9 while it scans: the next server scans again, and nothing of the first scan is left', async () => {
  const { server } = world
  trivy.plan({ sleepMs: 60_000 })
  const repo = world.repo('killed')
  repo.commit('v1')
  const { id } = await server.deploy({ service: 'killed', source: repo.source })
  await eventually(async () => expect(trivy.scans()).toHaveLength(1), { withinMs: 30_000 })
  await server.kill9()
  const left = trivy.scans()[0]?.pid
  expect(server.processes().map(({ identity }) => identity.pid)).toContain(left)
  trivy.plan({ reports: CLEAN })
  await server.start()
  expect((await server.settled(id)).status).toBe('running')
  expect(server.processes().map(({ identity }) => identity.pid)).not.toContain(left)
})

test('doctor says version and age of the database; I8: no secret is anywhere', async () => {
  const { stdout } = await cli('doctor')
  expect(stdout).toMatch(/scanner +Trivy 0\.69\.3 .*database of \d{4}-\d{2}-\d{2}/)
  expect(stdout + world.server.log()).not.toContain('very-secret-token')
})
