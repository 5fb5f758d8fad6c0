import { afterAll, beforeAll, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import type { ProjectId } from '../../src/domain/ids.ts'
import type { InstanceSpec, InstanceStatus } from '../../src/runtimes/runtime.ts'
import { probeOnce } from '../../src/stages/probe.ts'
import { get, never } from '../conformance/runtime-suite.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, LABELS, processHarness, type RuntimeHarness } from '../support/runtime-harness.ts'

/** Without networks of their own: an ordinary user's server, or a host without nftables. */
let harness: RuntimeHarness
beforeAll(async () => {
  harness = await processHarness({ kind: 'auto', cgroups: true })
})
afterAll(async () => expect(await harness?.close()).toEqual([]))

const labels = (project: string) => ({ ...LABELS, projectId: `prj_${project}` as ProjectId, title: `${project}/production/app` })
const HTTP = "require('http').createServer((q, s) => s.end(process.env.WHO))"
/** Binds for as long as `on` is there, so that a test decides when; the port is in BIND. */
const switched = `node -e "const fs = require('fs'); let server = null
setInterval(() => { if (fs.existsSync('on') && !server) { server = ${HTTP}; server.on('error', () => { server = null }); server.listen(process.env.BIND, '127.0.0.1') }
if (!fs.existsSync('on') && server) { server.close(); server.closeAllConnections(); server = null } }, 20)"`

async function start(spec: InstanceSpec): Promise<Extract<InstanceStatus, { state: 'running' }>> {
  const status = await harness.runtime.start(spec, 1, never())
  if (status.state !== 'running') throw new Error(`it does not run: ${status.state}`)
  return status
}
const turn = (spec: InstanceSpec, on: boolean) =>
  harness.runtime.exec(spec.id, on ? 'touch on' : 'rm -f on', { timeoutMs: 10_000, signal: never() })
const proof = async (spec: InstanceSpec) => harness.runtime.proveEndpoint(spec.id)

test('I15: the port of a restarting instance that another project takes passes no probe, whatever the thief answers', async () => {
  const { runtime } = harness
  const victim = instanceSpec({ labels: labels('beta'), startCommands: [`export BIND=$PORT; ${switched}`], env: { WHO: 'victim' } })
  const status = await start(victim)
  await turn(victim, true)
  expect(await get(status, '/')).toBe('victim')
  expect(await proof(victim)).toEqual({ kind: 'own' })

  const thief = instanceSpec({
    labels: labels('alpha'),
    startCommands: [switched],
    env: { WHO: 'ATTACKER', BIND: String(status.address.port) },
  })
  await start(thief)
  // The victim's process lives on with its port free, as one that retries while it restarts.
  await turn(victim, false)
  await eventually(async () => expect(await proof(victim)).toEqual({ kind: 'silent' }))
  await turn(thief, true)
  expect(await get(status, '/')).toBe('ATTACKER')

  await eventually(async () => expect((await proof(victim)).kind).toBe('foreign'))
  for (const probe of [
    { kind: 'tcp', port: null },
    { kind: 'httpGet', port: null, path: '/', host: null, scheme: 'http', expectStatus: null },
    { kind: 'exec', command: 'true' },
  ] as const) {
    const { address } = status
    const attempt = await probeOnce({
      probe,
      instanceId: victim.id,
      address,
      timeoutMs: 5000,
      runtime,
      clock: systemClock,
      signal: never(),
    })
    expect(attempt).toMatchObject({ outcome: 'failed', result: expect.stringContaining('alpha/production/app') })
  }

  await turn(thief, false)
  await turn(victim, true)
  expect(await eventually(async () => ((await get(status, '/')) === 'victim' ? 'victim' : false))).toBe('victim')
  expect(await proof(victim)).toEqual({ kind: 'own' })
})
