import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, expect, test } from 'vitest'
import { createEngineAssembler } from '../../src/builders/containers/engine-assembler.ts'
import { buildLimits } from '../../src/builders/recipe/recipe-builder.ts'
import { createRuntimeLayers } from '../../src/builders/recipe/runtime-layer-store.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import type { Digest, EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { createTestContainerSandbox, TEST_BASES } from '../support/container-sandbox.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const missing = dockerdMissing()
beforeEach((context) => context.skip(missing !== null, missing ?? ''))

const ID = 'sen_1' as ServiceEnvironmentId
const PROJECT = 'prj_1' as ProjectId
const ENVIRONMENT = 'env_1' as EnvironmentId

test('I7: a runtime layer whose image is no longer in the engine is made again, and never passed over by the bare base', async () => {
  const dockerd = await sharedDockerd()
  const sandbox = await createTestContainerSandbox()
  const root = temporaryDirectory()
  const tree = join(root, 'tree')
  mkdirSync(tree)
  writeFileSync(join(tree, 'app'), 'x')
  const layers = createRuntimeLayers({
    directory: join(root, 'layers'),
    sandbox,
    limits: buildLimits({ diskBytes: 20 * 1024 ** 2 }),
    bases: TEST_BASES,
  })
  const request = {
    key: 'dep_1',
    projectId: PROJECT,
    environmentId: ENVIRONMENT,
    serviceEnvironmentId: ID,
    home: '/home/shiplock',
    treeDirectory: tree,
    files: null,
    cacheDirectory: join(root, 'cache'),
    env: {},
    timeoutMs: 60_000,
    onLine: () => {},
    signal: new AbortController().signal,
    config: { os: null, base: 'static', prepareCommands: [`echo ${root} > /prepared`] },
  }
  const first = await layers.prepare(request)
  expect(await layers.prepare(request)).toMatchObject({ id: first.id, isReused: true })
  const found = await layers.find(ID, first.id)
  // What garbage collection is told to keep.
  expect((await layers.list()).map(({ image }) => image)).toEqual([found?.image])
  await dockerd.dockerText('rmi', '--force', found?.image ?? '')

  const engine = createContainerEngine({ address: { kind: 'unix', path: dockerd.socket, text: dockerd.host } })
  const assembler = createEngineAssembler({ engine, owner: 'test', bases: TEST_BASES, userOf: async () => 200_123 })
  const digest = `sha256:${'0'.repeat(64)}` as Digest
  const names = { project: 'layers', environment: 'production', service: 'lost' }
  const assemble = assembler.assemble({
    ...{
      projectId: PROJECT,
      environmentId: ENVIRONMENT,
      serviceEnvironmentId: ID,
      names,
      layer: found,
      treeDirectory: tree,
      config: request.config,
    },
    tree: { kind: 'tree', digest, files: 1, bytes: 1 },
    onLine: () => {},
    signal: request.signal,
  })
  await expect(assemble).rejects.toMatchObject({ code: 'BUILD_FAILED', message: expect.stringContaining('no longer in the engine') })

  const again = await layers.prepare(request)
  expect(again).toMatchObject({ isReused: false, reason: 'its image is no longer in the engine' })
  const made = (await layers.find(ID, again.id))?.image ?? ''
  expect(await dockerd.dockerText('run', '--rm', '--entrypoint', '/bin/cat', made, '/prepared')).toBe(root)
  await dockerd.dockerText('rmi', '--force', made)
  await engine.close()
})
