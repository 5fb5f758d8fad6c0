import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../core/clock.ts'
import type { DiskWriter } from '../core/disk-writer.ts'
import { silentLogger } from '../core/log.ts'
import type { ProjectId } from '../domain/ids.ts'
import { DiskGuard, type GuardedVolume } from './disk-guard.ts'

const MiB = 1024 ** 2

/** A volume in memory, and writers that only count. */
class World {
  readonly writers = new Map<string, TestWriter>()
  readonly ended: string[] = []
  looks = 0
  measurements = 0
  /** Bytes that nobody here wrote. */
  foreign = 0
  readonly guard: DiskGuard
  readonly totalBytes: number

  constructor(totalMib: number, projectMib: number | null = null) {
    this.totalBytes = totalMib * MiB
    this.guard = new DiskGuard({
      clock: systemClock,
      logger: silentLogger,
      volumes: async () => {
        this.looks += 1
        return [this.#volume()]
      },
      writers: async () => [...this.writers.values()],
      reserve: { bytes: 100 * MiB, files: 0 },
      projectBytes: projectMib === null ? null : projectMib * MiB,
      onEnded: async (writer, reason) => void this.ended.push(`${writer.id}: ${reason}`),
    })
  }

  add(id: string, more: { readonly limitMib?: number; readonly project?: string; readonly mib?: number } = {}): TestWriter {
    const writer = new TestWriter(this, id, more)
    this.writers.set(id, writer)
    return writer
  }

  #volume(): GuardedVolume {
    const used = this.foreign + [...this.writers.values()].reduce((sum, one) => sum + one.bytes, 0)
    const { totalBytes } = this
    return { path: '/v', places: ['data'], totalBytes, freeBytes: totalBytes - used, totalFiles: 0, freeFiles: 0 }
  }
}

class TestWriter implements DiskWriter {
  readonly place = 'data'
  readonly isRunning = true
  readonly projectId: ProjectId
  readonly limitBytes: number | null
  readonly world: World
  readonly id: string
  bytes: number
  isPaused = false

  constructor(
    world: World,
    id: string,
    { limitMib, project = 'p', mib = 1 }: { readonly limitMib?: number; readonly project?: string; readonly mib?: number },
  ) {
    this.world = world
    this.id = id
    this.limitBytes = limitMib === undefined ? null : limitMib * MiB
    this.projectId = project as ProjectId
    this.bytes = mib * MiB
  }

  written = () => this.bytes
  pause = () => {
    this.isPaused = true
  }
  resume = () => {
    this.isPaused = false
  }
  measure = async () => {
    this.world.measurements += 1
    return { bytes: this.bytes, files: 1 }
  }
  end = async () => void this.world.writers.delete(this.id)
}

let world: World
const begin = async (...given: ConstructorParameters<typeof World>) => {
  world = new World(...given)
}
afterEach(() => world.guard.stop())

const until = async (holds: () => boolean) => {
  await expect.poll(holds, { timeout: 10_000, interval: 5 }).toBe(true)
}
/** The guard has looked at what is there now. */
const looked = async () => {
  const { looks } = world
  await until(() => world.looks >= looks + 2)
}

describe('I13: the guard of the disk', () => {
  test('ends who grew below the reserve; who is merely large goes on, unpaused', async () => {
    await begin(2000)
    const large = world.add('large', { mib: 900, project: 'q' })
    const flood = world.add('flood')
    await world.guard.start()
    await until(() => world.measurements >= 2)
    flood.bytes += 1050 * MiB
    await until(() => world.ended.length > 0)
    expect(world.ended).toEqual([expect.stringMatching(/^flood: it filled the disk: it grew by 1.0 GiB/)])
    expect(large.isPaused).toBe(false)
    await looked()
    expect(world.guard.shortage).toBeNull()
  })

  test('ends nobody when somebody else fills the disk, and says that it is short', async () => {
    await begin(2000)
    world.add('large', { mib: 900 })
    await world.guard.start()
    await until(() => world.measurements >= 1)
    world.foreign = 1090 * MiB
    await until(() => world.guard.shortage !== null)
    expect(world.ended).toEqual([])
    world.foreign = 0
    await until(() => world.guard.shortage === null)
  })

  test('a disk that was short before anybody was measured costs nobody his life', async () => {
    await begin(1000)
    world.add('old', { mib: 950 })
    await world.guard.start()
    await until(() => world.guard.shortage !== null)
    await looked()
    expect(world.ended).toEqual([])
  })

  test('holds each to its own limit, and a project to its own', async () => {
    await begin(10_000, 300)
    const greedy = world.add('greedy', { limitMib: 100, project: 'q' })
    const [a, b] = [world.add('a'), world.add('b')]
    await world.guard.start()
    await until(() => world.measurements >= 3)
    greedy.bytes += 120 * MiB
    await until(() => world.ended.length === 1)
    expect(world.ended[0]).toMatch(/^greedy: it uses 121 MiB on disk, its limit is 100 MiB/)
    a.bytes += 100 * MiB
    b.bytes += 210 * MiB
    await until(() => world.ended.length === 2)
    expect(world.ended[1]).toMatch(/^b: the instances of its project use 312 MiB/)
  })

  test('measures nothing while nothing grows', async () => {
    await begin(10_000)
    for (let number = 0; number < 50; number++) world.add(`idle${number}`, { limitMib: 100 })
    await world.guard.start()
    await until(() => world.measurements === 50)
    await looked()
    await looked()
    expect(world.measurements).toBe(50)
  })
})
