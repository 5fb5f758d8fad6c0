import { expect, test } from 'vitest'
import { ShiplockError } from '../core/errors.ts'
import type { Digest, InstanceId } from '../domain/ids.ts'
import { ByArtifactRuntime, type KeepingRuntime } from './by-artifact.ts'
import type { InstanceSpec, InstanceStatus, InstanceSummary } from './runtime.ts'

const FACTS = { restartsStopped: true, memoryLimit: true, cpuLimit: true, regions: [] }
const TREE = { kind: 'tree', digest: 'sha256:00' as Digest, files: 1, bytes: 1 } as const
const IMAGE = { kind: 'image', digest: 'sha256:00' as Digest, reference: 'a', command: null, exposedPorts: [] } as const

/** Notes what it is asked; `held` are the ids that it has. */
function runtime(kind: 'tree' | 'image', held: readonly string[], calls: string[], more: Partial<KeepingRuntime> = {}): KeepingRuntime {
  const noted = (verb: string, id: string) => {
    calls.push(`${kind} ${verb} ${id}`)
    return Promise.resolve({ state: 'missing' } as InstanceStatus)
  }
  return {
    name: kind,
    capabilities: { ...FACTS, artifacts: [kind] },
    has: (id: string) => held.includes(id),
    check: async () => ({ ok: kind === 'tree', summary: `${kind} summary` }),
    start: (spec: InstanceSpec) => noted('start', spec.id),
    inspect: (id: string) => noted('inspect', id),
    stop: async (id: string) => ({ killed: (await noted('stop', id)).state === 'running', tookMs: 1 }),
    remove: async (id: string) => void (await noted('remove', id)),
    removeTask: async (id: string) => void (await noted('removeTask', id)),
    list: async () => [{ id: kind } as unknown as InstanceSummary],
    ...more,
  } as unknown as KeepingRuntime
}

function composed(
  options: { trees?: string[]; images?: string[]; reachable?: boolean; prefersImages?: boolean; imagesMore?: Partial<KeepingRuntime> } = {},
) {
  const calls: string[] = []
  const both = new ByArtifactRuntime({
    prefersImages: options.prefersImages ?? false,
    trees: runtime('tree', options.trees ?? [], calls),
    images: runtime('image', options.images ?? [], calls, options.imagesMore),
    isReachable: () => options.reachable ?? true,
  })
  return { both, calls }
}
const spec = (id: string, artifact: typeof TREE | typeof IMAGE, staticRoot: string | null = null) =>
  ({ id, artifact, staticRoot }) as unknown as InstanceSpec
const never = () => new AbortController().signal

test('what is started goes where its artifact runs, unless somebody holds its id already', async () => {
  const { both, calls } = composed({ trees: ['old-tree'], images: ['old-image'] })
  await both.start(spec('a', TREE), 1, never())
  await both.start(spec('b', IMAGE), 1, never())
  await both.start(spec('old-tree', IMAGE), 1, never())
  await both.start(spec('old-image', TREE), 1, never())
  expect(calls).toEqual(['tree start a', 'image start b', 'tree start old-tree', 'image start old-image'])
})

test('what nobody holds is missing without asking an engine, and is removed from both', async () => {
  const { both, calls } = composed({ images: ['i'], trees: ['t'] })
  await both.inspect('nobody' as InstanceId)
  for (const id of ['nobody', 'i', 't']) await both.remove(id as InstanceId, 1)
  await both.removeTask('i', 1)
  expect(calls).toEqual([
    'tree inspect nobody',
    'tree remove nobody',
    'image remove nobody',
    'image remove i',
    'tree remove t',
    'image removeTask i',
  ])
  const away = composed({ reachable: false })
  await away.both.stop('nobody' as InstanceId, { timeoutMs: 1 }, 1)
  expect(away.calls).toEqual(['tree stop nobody'])
})

test('images are offered while the engine answers, and only then', async () => {
  expect(composed().both.capabilities.artifacts).toEqual(['tree', 'image'])
  const { both } = composed({ reachable: false })
  expect(both.capabilities.artifacts).toEqual(['tree'])
  expect(await both.check(never())).toEqual({ ok: true, summary: 'tree summary' })
})

test('an engine that is away hides its instances from the list; other faults are told', async () => {
  const away = new ShiplockError('ENGINE_UNREACHABLE', 'away')
  expect(await composed({ imagesMore: { list: () => Promise.reject(away) } }).both.list()).toHaveLength(1)
  expect(await composed().both.list()).toHaveLength(2)
  await expect(composed({ imagesMore: { list: () => Promise.reject(new Error('odd')) } }).both.list()).rejects.toThrow('odd')
})

test('with containers for everything, only static sites and what runs as a process already are processes', async () => {
  const { both, calls } = composed({ trees: ['old'], prefersImages: true, reachable: false })
  for (const id of ['new', 'old']) await both.start(spec(id, TREE), 1, never())
  await both.start(spec('site', TREE, '/'), 1, never())
  expect(calls).toEqual(['image start new', 'tree start old', 'tree start site'])
  expect(both.capabilities.artifacts).toEqual(['image'])
  expect((await both.check(never())).ok).toBe(false)
})
