import { describe, expect, test } from 'vitest'
import {
  type Measured,
  mayBeOver,
  nextLookMs,
  overLimit,
  overProject,
  reserveOn,
  shortageOf,
  type VolumeSpace,
  whomToStop,
} from './disk.ts'

const MiB = 1024 ** 2
const volume = (more: Partial<VolumeSpace> = {}): VolumeSpace => ({
  path: '/data',
  totalBytes: 10_000 * MiB,
  freeBytes: 5000 * MiB,
  totalFiles: 1_000_000,
  freeFiles: 500_000,
  ...more,
})
const RESERVE = { bytes: 512 * MiB, files: 20_000 }
const measured = (id: string, mib: number, grownMib: number, files = 10, grownFiles = 0): Measured => ({
  id,
  projectId: 'p',
  bytes: mib * MiB,
  files,
  grownBytes: grownMib * MiB,
  grownFiles,
})

describe('the reserve', () => {
  test('is a fifth of a small volume at most', () => {
    expect(reserveOn(volume({ totalBytes: 1000 * MiB, totalFiles: 50_000 }), RESERVE)).toEqual({ bytes: 200 * MiB, files: 2500 })
    expect(reserveOn(volume(), RESERVE)).toEqual(RESERVE)
  })

  test.each([
    [{}, null],
    [{ freeBytes: 511 * MiB }, 'bytes'],
    [{ freeFiles: 19_999 }, 'files'],
    // btrfs has as many inodes as it wants.
    [{ totalFiles: 0, freeFiles: 0 }, null],
  ] as const)('%o is short of %s', (space, of) => expect(shortageOf(volume(space), RESERVE)).toBe(of))

  test('is looked at the earlier, the less is above it', () => {
    const bounds = { bytesPerSecond: 1000 * MiB, filesPerSecond: 100_000, minMs: 20, maxMs: 1000 }
    expect(nextLookMs(volume(), RESERVE, bounds)).toBe(1000)
    expect(nextLookMs(volume({ freeBytes: 812 * MiB }), RESERVE, bounds)).toBe(300)
    expect(nextLookMs(volume({ freeFiles: 50_000, freeBytes: 9000 * MiB }), RESERVE, bounds)).toBe(300)
    expect(nextLookMs(volume({ freeBytes: 1 }), RESERVE, bounds)).toBe(20)
  })
})

test('nobody is measured who can not have reached its limit by what the volume took in', () => {
  const known = { bytes: 100 * MiB, intake: 1000 * MiB }
  expect(mayBeOver(known, 200 * MiB, 1100 * MiB)).toBe(false)
  expect(mayBeOver(known, 200 * MiB, 1101 * MiB)).toBe(true)
  expect(mayBeOver(null, 200 * MiB, 0)).toBe(true)
  expect(mayBeOver(known, null, 9000 * MiB)).toBe(false)
})

describe('I13: who is stopped when the disk is short', () => {
  const short = { of: 'bytes', volume: volume({ freeBytes: 400 * MiB }), reserve: RESERVE } as const

  test('the one that grew, not the one that is large', () => {
    expect(whomToStop([measured('large', 6000, 1), measured('growing', 300, 250)], short).map(({ id }) => id)).toEqual(['growing'])
  })

  test('as many as it takes, and no more', () => {
    const both = [measured('a', 100, 90), measured('b', 80, 70), measured('c', 60, 50)]
    expect(whomToStop(both, short).map(({ id }) => id)).toEqual(['a', 'b'])
  })

  test('nobody where the tenants did not grow: somebody else fills the disk', () => {
    expect(whomToStop([measured('a', 6000, 0), measured('b', 100, 3)], short)).toEqual([])
  })

  test('nobody beside a flood that it has little part in', () => {
    expect(whomToStop([measured('flood', 90, 90), measured('log', 20, 5)], short).map(({ id }) => id)).toEqual(['flood'])
  })

  test('whoever made files, where inodes are short', () => {
    const files = { of: 'files', volume: volume({ freeFiles: 10_000 }), reserve: RESERVE } as const
    const [first, ...rest] = whomToStop([measured('bytes', 6000, 900, 10, 1), measured('files', 1, 1, 90_000, 80_000)], files)
    expect(first).toEqual({
      id: 'files',
      reason: 'it filled the disk: it made 80000 files, and 20000 more must be possible for the database and the edge',
    })
    expect(rest).toEqual([])
  })
})

test('a limit of its own, and one of the project', () => {
  expect(overLimit(measured('a', 100, 100), 100 * MiB)).toBeNull()
  expect(overLimit(measured('a', 101, 1), 100 * MiB)?.reason).toContain('it uses 101 MiB on disk, its limit is 100 MiB')
  expect(overLimit(measured('a', 101, 1), null)).toBeNull()
  const all = [measured('a', 60, 10), measured('b', 50, 20), measured('old', 40, 90)]
  const running = new Set(['a', 'b'])
  expect(overProject(all, { running, bounded: running }, 150 * MiB)).toBeNull()
  expect(overProject(all, { running, bounded: running }, 149 * MiB)?.id).toBe('b')
  const still = all.map((one) => ({ ...one, grownBytes: 0 }))
  expect(overProject(still, { running, bounded: running }, 149 * MiB)?.id).toBe('a')
  expect(overProject(still, { running, bounded: new Set() }, 149 * MiB)).toBeNull()
})
