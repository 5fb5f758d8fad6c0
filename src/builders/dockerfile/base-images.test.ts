import { expect, it } from 'vitest'
import { type ContainerEngine, EngineRefusal } from '../../container-engine/engine.ts'
import { createImageCredentials } from '../../container-engine/image-credentials.ts'
import type { ProjectId } from '../../domain/ids.ts'
import { BaseImages } from './base-images.ts'

const DIGEST = `sha256:${'ab'.repeat(32)}`
const OTHER = `sha256:${'cd'.repeat(32)}`

/** An engine that has these images, and registries that answer or don't. */
function world(images: Readonly<Record<string, string>>) {
  const state = { isReachable: true, asked: 0, digest: DIGEST }
  const json = async (_method: string, path: string): Promise<unknown> => {
    if (path.startsWith('/distribution/')) {
      state.asked += 1
      if (!state.isReachable) throw new EngineRefusal(500, 'dial tcp: lookup registry-1.docker.io: no such host')
      return { Descriptor: { digest: state.digest }, Platforms: [{ os: 'linux', architecture: 'amd64' }] }
    }
    const name = decodeURIComponent(path.replace(/^\/images\//, '').replace(/\/json$/, ''))
    const digest = images[name]
    if (digest === undefined) throw new EngineRefusal(404, 'no such image')
    return {
      Id: OTHER,
      RepoDigests: [`private.example/x@${OTHER}`, `${name.split(':')[0]}@${digest}`],
      Os: 'linux',
      Architecture: 'amd64',
      Config: {},
    }
  }
  const version = async () => ({ name: 'Docker Engine 20.10.24', api: '1.41', os: 'linux', arch: 'amd64' })
  const engine = { address: 'unix:///x', isLocal: true, isReachable: true, version, json } as unknown as ContainerEngine
  const clock = { now: 0 }
  const credentials = createImageCredentials({ file: null, publish: null })
  const bases = new BaseImages({ engine, credentials, mayAddUrls: false, monotonic: () => clock.now })
  const find = async (reference: string, project = 'prj_1') => {
    const need = { reference, platform: null, line: 1, stages: [] }
    const request = {
      projectId: project as ProjectId,
      names: { project: 'p', environment: 'e', service: 's' },
      env: {},
      signal: new AbortController().signal,
      targetPlatform: 'linux/amd64',
      onLine: () => {},
    }
    return (await bases.find([need], null, request)).image(need)
  }
  return { state, clock, find }
}

const HOUR = 3_600_000

it('a name stands for what it was found to be for a while, then it is asked again', async () => {
  const { state, clock, find } = world({ [DIGEST]: DIGEST, [OTHER]: OTHER })
  expect(await find('acme/base:1')).toBe(`docker.io/acme/base@${DIGEST}`)
  state.digest = OTHER
  expect(await find('acme/base:1')).toBe(`docker.io/acme/base@${DIGEST}`)
  clock.now += HOUR
  expect(await find('acme/base:1')).toBe(`docker.io/acme/base@${OTHER}`)
  expect(state.asked).toBe(2)
})

it('a registry that does not answer stops no build of what the project was shown before', async () => {
  const { state, clock, find } = world({ [DIGEST]: DIGEST })
  await find('acme/base:1')
  state.isReachable = false
  clock.now += 10 * HOUR
  expect(await find('acme/base:1')).toBe(`docker.io/acme/base@${DIGEST}`)
})

it('I10: what another project was shown is nobody else’s, answer or not', async () => {
  const { state, find } = world({ [DIGEST]: DIGEST, 'acme/base:1': DIGEST })
  await find('acme/base:1')
  state.isReachable = false
  await expect(find('acme/base:1', 'prj_2')).rejects.toMatchObject({
    code: 'BUILD_FAILED',
    message: expect.stringContaining('can’t be reached'),
  })
})

it('official images are everybody’s: without their registry the one that the engine has under the name is taken', async () => {
  const { state, find } = world({ [DIGEST]: DIGEST, 'node:20': DIGEST })
  state.isReachable = false
  expect(await find('node:20')).toBe(`docker.io/library/node@${DIGEST}`)
  await expect(find('node:22')).rejects.toMatchObject({ code: 'BUILD_FAILED' })
})
