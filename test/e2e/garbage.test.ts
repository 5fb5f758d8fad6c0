import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdtempSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { ContainerEngine } from '../../src/container-engine/engine.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import type { Deployment } from '../../src/domain/deployment.ts'
import { collectGarbage, type GarbageOptions } from '../../src/engine/garbage.ts'
import { reap } from '../../src/engine/reaper.ts'
import { createEngineImageStore, OWNER_LABEL } from '../../src/registry/engine-image-store.ts'
import type { ServiceEnvironment } from '../../src/store/sql/catalog.ts'
import { listGarbageRuns } from '../../src/store/sql/garbage.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../support/dockerd.ts'
import { createWorld, type World } from '../support/engine-world.ts'

const missing = dockerdMissing()
const NOW: GarbageOptions = { reason: 'periodic', isDryRun: false, buildCacheBytes: 2 ** 40, except: null }

/** A real engine with images, a real database with what was deployed from them. */
describe.skipIf(missing !== null)('garbage of a container engine', () => {
  let dockerd: TestDockerd
  let engine: ContainerEngine
  let world: World
  let target: ServiceEnvironment
  const directory = mkdtempSync('/tmp/sl-garbage-')

  beforeAll(async () => {
    dockerd = await privateDockerd()
    engine = createContainerEngine({ address: { kind: 'unix', path: dockerd.socket, text: dockerd.host } })
    await engine.version()
  }, 120_000)
  afterAll(async () => {
    await engine?.close()
    await dockerd?.remove()
    await removeTree(directory)
  })
  beforeEach(async () => {
    world = await createWorld()
    target = await world.service('api')
    return () => world.close()
  })

  /** What the engine of a server sees: the world's drivers and the real images. */
  async function dependencies(owner = 'us') {
    const server = world.servers[0] ?? (await world.server().start())
    const { engine: known } = server
    return { ...known, drivers: { ...known.drivers, images: createEngineImageStore(engine, owner) } }
  }

  async function image(options: { owner?: string; tags?: string[]; kib?: number } = {}): Promise<string> {
    const root = mkdtempSync(join(directory, 'root-'))
    writeFileSync(join(root, 'noise'), randomBytes((options.kib ?? 64) * 1024))
    const tar = execFileSync('tar', ['-C', root, '-c', '.'], { maxBuffer: 1024 ** 3 })
    const label = options.owner === undefined ? [] : ['--change', `LABEL ${OWNER_LABEL}=${options.owner}`]
    const { stdout } = await dockerd.docker(['import', '--change', 'CMD ["/noise"]', ...label, '-'], { input: tar })
    const id = stdout.trim()
    for (const tag of options.tags ?? []) await dockerd.dockerText('tag', id, tag)
    return id
  }

  /** As if the deployment's build had made that image. */
  async function made(deployment: Deployment, id: string): Promise<void> {
    const artifact = JSON.stringify({
      kind: 'image',
      digest: id,
      reference: `shiplock/shop/api:${deployment.id}`,
      command: null,
      exposedPorts: [],
    })
    await world.database.query(`update releases set artifact = $2 where id = $1`, [deployment.releaseId, artifact])
    await world.database.query(`update deployments set facts = jsonb_set(facts, '{artifact}', $2) where id = $1`, [deployment.id, artifact])
  }

  const present = async () => new Set((await dockerd.dockerText('images', '--no-trunc', '--quiet')).split('\n'))
  /** Younger images may belong to a build whose record comes. */
  const later = <D extends { readonly clock: { now(): number } }>(known: D): D => ({
    ...known,
    clock: { ...known.clock, now: () => Date.now() + 2 * 3_600_000 },
  })

  test('I1: what is live, a way back or pinned stays; what retention let go of goes, and the bytes are told', async () => {
    const known = await dependencies()
    const deployments: Deployment[] = []
    const images: string[] = []
    for (const ref of ['v1', 'v2', 'v3', 'v4']) {
      world.commit(ref, { retention: 0, deploy: { standbyMs: 0 } })
      const deployment = await world.live(target, ref)
      const id = await image({ owner: 'us', tags: [`shiplock/shop/api:${deployment.id}`], kib: 2048 })
      await made(deployment, id)
      deployments.push(deployment)
      images.push(id)
    }
    await world.database.query('update releases set pinned = true where id = $1', [deployments[0]?.releaseId])
    await reap(known)
    await reap(known)
    const plan = await collectGarbage(known, { ...NOW, isDryRun: true })
    expect(plan.images.map((gone) => gone.id)).toEqual([images[1]])
    expect(await present()).toEqual(new Set(images))
    const result = await collectGarbage(known, NOW)
    expect(await present()).toEqual(new Set([images[0], images[2], images[3]]))
    expect(result).toMatchObject({ counts: { images: 1 }, kept: 3 })
    expect(result.bytes).toBeGreaterThan(2_000_000)
    expect(await listGarbageRuns(world.database, known.owner.serverId, 5)).toMatchObject([
      { reason: 'periodic', bytes: result.bytes, removed: { images: 1 } },
    ])
    expect((await world.events()).filter((event) => event.type === 'garbage.collected')).toMatchObject([
      { message: expect.stringContaining('MiB reclaimed'), data: { images: 1, bytes: result.bytes } },
    ])
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { images: 0 }, bytes: 0 })
    for (const id of images) await dockerd.docker(['image', 'rm', '--force', id])
  })

  test('what a failed deployment built goes too', async () => {
    const known = await dependencies()
    world.commit('broken', {})
    const deployment = await world.deploy(target, 'broken')
    world.unready.add(deployment.id)
    expect(await world.settled(deployment.id, 60_000)).toMatchObject({ status: 'failed' })
    const id = await image({ owner: 'us', tags: [`shiplock/shop/api:${deployment.id}`] })
    await made(deployment, id)
    await world.database.query('update releases set deleted_at = now() where id = $1', [deployment.releaseId])
    expect(await collectGarbage(later(known), NOW)).toMatchObject({ counts: { images: 1 } })
    expect(await present()).not.toContain(id)
  }, 120_000)

  test('I10: images of the user, of another Shiplock, and those with a name of their own are left alone', async () => {
    const known = later(await dependencies())
    const users = await image({ tags: ['postgres:16', 'node:20'] })
    const theirs = await image({ owner: 'them', tags: ['shiplock/other/app:dep_1'] })
    const named = await image({ owner: 'us', tags: ['shiplock/shop/api:dep_2', 'mine:latest'] })
    const nameless = await image()
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { images: 0, names: 1 } })
    expect(await present()).toEqual(new Set([users, theirs, named, nameless]))
    expect(await dockerd.dockerText('image', 'inspect', '--format', '{{.RepoTags}}', named)).toBe('[mine:latest]')
    for (const id of [users, theirs, named, nameless]) await dockerd.docker(['image', 'rm', '--force', id])
  })

  test('what a build may just have made stays: an image without a record while it is young, all of them while something is at build', async () => {
    const known = await dependencies()
    const id = await image({ owner: 'us', tags: ['shiplock/shop/api:dep_3'] })
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { images: 0 } })
    world.commit('slow', {})
    const gate = world.gate((step) => step.name === 'builder.build' && step.side === 'before')
    const deployment = await world.deploy(target, 'slow')
    await gate.reached
    expect(await collectGarbage(later(known), NOW)).toMatchObject({ counts: { images: 0 } })
    // The one that waits for room has not begun to build.
    expect(await collectGarbage(later(known), { ...NOW, reason: 'disk', except: deployment.id })).toMatchObject({ counts: { images: 1 } })
    expect(await present()).not.toContain(id)
    gate.open()
    await world.settled(deployment.id)
  })

  test('the image of a recipe layer stays as long as the layer does, whatever its age, and goes when that has gone', async () => {
    const kept = await image({ owner: 'us', tags: ['shiplock/base-layer:kept'] })
    const left = await image({ owner: 'us', tags: ['shiplock/runtime-layer:left'] })
    const known = later(await dependencies())
    const naming = (images: readonly string[]) => ({ ...known, drivers: { ...known.drivers, layerImages: async () => images } })
    await collectGarbage(naming([kept]), NOW)
    expect(await present()).toContain(kept)
    expect(await present()).not.toContain(left)
    await collectGarbage(naming([]), NOW)
    expect(await present()).not.toContain(kept)
  })

  test('an image that a stopped container stands on is not taken from under it', async () => {
    const known = later(await dependencies())
    const id = await image({ owner: 'us', tags: ['shiplock/shop/api:dep_4'] })
    const container = await dockerd.dockerText('create', id)
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { images: 0 } })
    expect(await present()).toContain(id)
    await dockerd.dockerText('rm', container)
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { images: 1 } })
  })

  test('the build cache is held to its budget', async () => {
    const known = await dependencies()
    const context = mkdtempSync(join(directory, 'context-'))
    writeFileSync(join(context, 'noise'), randomBytes(3 * 1024 ** 2))
    writeFileSync(join(context, 'Dockerfile'), 'FROM scratch AS one\nCOPY noise /noise\nFROM scratch\nCOPY --from=one /noise /two\n')
    const built = await dockerd.docker(['build', '--progress=plain', '--tag', 'mine:cache', context])
    expect(built.exitCode, built.stderrTail.join('\n')).toBe(0)
    await dockerd.dockerText('image', 'rm', 'mine:cache')
    expect(await collectGarbage(known, NOW)).toMatchObject({ counts: { buildCacheBytes: 0 } })
    const result = await collectGarbage(known, { ...NOW, buildCacheBytes: 0 })
    expect(result.counts.buildCacheBytes).toBeGreaterThan(3_000_000)
    expect(result.bytes).toBeGreaterThanOrEqual(result.counts.buildCacheBytes)
  })

  test('above the mark nothing is built, the reason is told, and what serves goes on', async () => {
    const server = await world.server().start()
    world.commit('v1', {})
    await world.live(target, 'v1')
    let reason: string | null = 'the disk is 96.0 % full, the mark is 95 %'
    Object.assign(server.engine.drivers, { disk: { makeRoom: async () => reason } })
    world.commit('v2', {})
    const refused = await world.settled((await world.deploy(target, 'v2')).id)
    expect(refused).toMatchObject({ status: 'failed', error: { code: 'DISK_FULL', message: expect.stringContaining('the mark is 95 %') } })
    expect((await world.route(target))?.targets).toHaveLength(1)
    // Nothing is built for what was built before.
    await world.live(target, 'v1')
    reason = null
    await world.live(target, 'v2')
  })
})
