import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../src/core/clock.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { DeploymentId } from '../../src/domain/ids.ts'
import { Once } from '../../src/runtimes/process/once.ts'
import { lines, never } from './../conformance/runtime-suite.ts'
import { dockerHarness, serverImage } from '../support/docker-harness.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, LABELS, processHarness, type RuntimeHarness } from '../support/runtime-harness.ts'

let harness: RuntimeHarness
/** Of the harness's own artifact. */
let make: typeof instanceSpec
afterEach(async () => expect(await harness?.close()).toEqual([]))

const missing = dockerdMissing()
const LONG = 120_000
const places = [
  { place: 'processes, confined', begin: () => onProcesses('auto') },
  { place: 'processes, not confined', begin: () => onProcesses('none') },
  ...(missing === null ? [{ place: 'containers', begin: onContainers }] : []),
]

async function onProcesses(kind: 'auto' | 'none') {
  harness = await processHarness({ kind, cgroups: true })
  make = instanceSpec
  return { kill: async (id: string) => void (await harness.sandbox?.kill(id)) }
}

async function onContainers() {
  const dockerd = await sharedDockerd()
  const docker = await dockerHarness(dockerd, await serverImage(dockerd))
  harness = docker
  make = docker.instanceSpec
  return { kill: async (id: string) => void (await dockerd.dockerText('kill', `shiplock-${docker.runtime.owner}-${id}`)) }
}

describe.each(places)('shiplock-once in instances as $place', { timeout: LONG }, ({ begin }) => {
  const texts = async (id: ReturnType<typeof instanceSpec>['id']) => (await lines(harness.runtime, id)).map((line) => line.text)

  test('four instances that start at once migrate once; their restarts and later ones find it done; another deployment does it anew', async () => {
    await begin()
    const migrating = (deploymentId = LABELS.deploymentId) =>
      make({
        labels: { ...LABELS, deploymentId },
        initCommands: ['shiplock-once schema -- sh -c "echo migrated by $SHIPLOCK_INSTANCE; sleep 0.2"'],
        initFailure: 'fail',
        startCommands: ['sleep 1000'],
      })
    const all = [migrating(), migrating(), migrating(), migrating()]
    await Promise.all(all.map((spec) => harness.runtime.start(spec, 1, never())))
    const migrations = async () =>
      (await Promise.all(all.map(({ id }) => texts(id)))).flat().filter((line) => line.startsWith('migrated by'))
    await eventually(async () => expect(await migrations()).toHaveLength(1))
    const [first] = all
    if (first === undefined) throw new Error('there are four')
    await harness.runtime.stop(first.id, { timeoutMs: 1000 }, 1)
    await harness.runtime.start(first, 1, never())
    expect(await migrations()).toHaveLength(1)
    const other = migrating('dep_two' as DeploymentId)
    await harness.runtime.start(other, 1, never())
    await eventually(async () => expect(await texts(other.id)).toContain(`migrated by ${other.id}`))
  })

  test('an instance that is killed while it migrates leaves it to the next one', async () => {
    const { kill } = await begin()
    const init = (command: string) => make({ initCommands: [`shiplock-once schema -- ${command}`], startCommands: ['sleep 1000'] })
    const holder = init('sh -c "echo begun; exec sleep 1000"')
    const starting = harness.runtime.start(holder, 1, never()).catch(() => null)
    await eventually(async () => expect(await texts(holder.id)).toContain('begun'))
    const next = init('echo migrated')
    const started = harness.runtime.start(next, 1, never())
    await eventually(async () => expect((await texts(next.id)).join()).toContain('waiting'))
    await kill(holder.id)
    await started
    await starting
    expect(await texts(next.id)).toContain('migrated')
  })
})

test('what was recorded outlives the replacement of the last instance, and goes some time after it', async () => {
  harness = await processHarness({ kind: 'none', cgroups: false })
  if (harness.sandbox === null) throw new Error('this runtime has a sandbox')
  const directory = await mkdtemp(join(tmpdir(), 'shiplock-once-'))
  let now = Date.now()
  const once = new Once(directory, { ...systemClock, now: () => now })
  const { env } = await once.lay(harness.sandbox, LABELS)
  expect(await readFile(join(directory, 'bin/shiplock-once'), 'utf8')).toMatch(/^#!\/bin\/sh\n/)
  const shared = env.SHIPLOCK_ONCE_DIR ?? ''
  await once.sweep(new Set())
  expect(existsSync(shared)).toBe(true)
  now += LIMITS.onceKeptMs + 1000
  await once.sweep(new Set([LABELS.deploymentId]))
  expect(existsSync(shared)).toBe(true)
  await once.sweep(new Set())
  expect(await readdir(join(directory, 'deployments'))).toEqual([])
  await rm(directory, { recursive: true })
})
