import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { imageFates, isOwnTag, type StoredImage, whyFull } from './garbage.ts'

const NOW = 1_000_000_000
const own = (name: string) => `shiplock/shop/${name}:1`
const image = (changes: Partial<StoredImage> & { id: string }): StoredImage => ({
  tags: [],
  digests: [],
  owner: null,
  bytes: 1,
  createdAt: 0,
  ...changes,
})
const records = (changes: { needed?: string[]; built?: string[] } = {}) => ({
  needed: new Set(changes.needed ?? []),
  built: new Set(changes.built ?? []),
  owner: 'us',
  now: NOW,
  graceMs: 1000,
})
const fateOf = (stored: StoredImage, known = records()) => imageFates([stored], known)[0]

describe('images', () => {
  test.each<[string, StoredImage, ReturnType<typeof records>, string, string[]]>([
    ['one without label, tag or record is not ours', image({ id: 'a', tags: ['postgres:16'] }), records(), 'keep', []],
    ['one that another Shiplock labelled is not ours', image({ id: 'a', owner: 'them', tags: [own('x')] }), records(), 'keep', []],
    ['one that we labelled goes', image({ id: 'a', owner: 'us', tags: [own('x')] }), records(), 'remove', [own('x')]],
    ['one that was built for a deployment goes', image({ id: 'a' }), records({ built: ['a'] }), 'remove', []],
    ['one that a release names by its id stays', image({ id: 'a', owner: 'us' }), records({ needed: ['a'], built: ['a'] }), 'keep', []],
    [
      'one that a release names by its digest in a registry stays',
      image({ id: 'a', tags: [own('x')], digests: ['reg/x@sha256:d'] }),
      records({ needed: ['sha256:d'] }),
      'keep',
      [],
    ],
    [
      'one that somebody else named too only loses our name',
      image({ id: 'a', owner: 'us', tags: [own('x'), 'mine:1'] }),
      records(),
      'untag',
      [own('x')],
    ],
    ['one that somebody else named stays', image({ id: 'a', owner: 'us', tags: ['mine:1'] }), records(), 'keep', []],
    [
      'one that was made just now and is not recorded yet stays',
      image({ id: 'a', owner: 'us', createdAt: NOW - 999 }),
      records(),
      'keep',
      [],
    ],
    ['a recorded one needs no grace', image({ id: 'a', createdAt: NOW }), records({ built: ['a'] }), 'remove', []],
  ])('%s', (_name, stored, known, fate, names) => expect(fateOf(stored, known)).toMatchObject({ fate, names }))

  test('our tags are known; those of others are not', () => {
    expect(['shiplock/shop/app:1', `reg.example.com/p/s:shiplock-${'a'.repeat(40)}`].every(isOwnTag)).toBe(true)
    expect(['shiplock/base-layer:0a1b', 'shiplock/runtime-layer:0a1b.c'].every(isOwnTag)).toBe(true)
    expect(
      ['shiplocked:1', 'shiplock/app:1', 'shiplock-test/node:20', 'reg.example.com/shiplock/app:1', 'app:shiplock-1', 'node:20'].some(
        isOwnTag,
      ),
    ).toBe(false)
  })

  const names: fc.Arbitrary<string> = fc.constantFrom('a', 'b', 'c', 'd', 'e')
  const stored = fc.record({
    id: names,
    tags: fc.uniqueArray(fc.constantFrom(own('x'), own('y'), 'mine:1', 'node:20'), { maxLength: 3 }),
    digests: fc.uniqueArray(
      names.map((name) => `reg/x@sha256:${name}`),
      { maxLength: 2 },
    ),
    owner: fc.constantFrom(null, 'us', 'them'),
    bytes: fc.nat(),
    createdAt: fc.integer({ min: NOW - 2000, max: NOW }),
  })
  const needed = fc.array(
    fc.oneof(
      names,
      names.map((name) => `sha256:${name}`),
      fc.constantFrom(own('x'), 'mine:1'),
    ),
  )

  test('I1: whatever is there, nothing goes that is needed, not ours, named by others, or may just be being built', () => {
    fc.assert(
      fc.property(fc.array(stored), needed, fc.array(names), (images, mustStay, built) => {
        const known = { ...records(), needed: new Set(mustStay), built: new Set(built) }
        for (const { image: found, fate, names: gone } of imageFates(images, known)) {
          if (fate === 'keep') continue
          const identities = [found.id, ...found.tags, ...found.digests, ...found.digests.map((name) => name.split('@')[1] ?? '')]
          expect(identities.some((name) => known.needed.has(name))).toBe(false)
          expect(found.owner).not.toBe('them')
          expect(gone.some((name) => !name.includes('@') && !isOwnTag(name))).toBe(false)
          if (fate === 'remove') {
            expect(found.tags.every(isOwnTag)).toBe(true)
            expect(built.includes(found.id) || NOW - found.createdAt >= 1000).toBe(true)
          }
        }
      }),
    )
  })

  test('what is ours, unneeded, unnamed by others and old always goes', () => {
    fc.assert(
      fc.property(fc.array(stored), (images) => {
        for (const { image: found, fate } of imageFates(images, records())) {
          const isGarbage = found.owner === 'us' && found.tags.every(isOwnTag) && NOW - found.createdAt >= 1000
          if (isGarbage) expect(fate).toBe('remove')
        }
      }),
    )
  })
})

describe('disk', () => {
  const mark = { highWaterPercent: 90, freeBytesMin: 512 * 1024 ** 2 }
  const volume = (freeGiB: number, totalGiB = 100) => ({ path: '/data', totalBytes: totalGiB * 1024 ** 3, freeBytes: freeGiB * 1024 ** 3 })

  test('there is room below the mark', () => expect(whyFull([volume(50), volume(10.1)], mark)).toBeNull())
  test('the reason names mark, place and what is left', () => {
    expect(whyFull([volume(50), volume(5)], mark)).toBe('the disk is 95.0 % full, the mark is 90 % (5.0 GiB free at /data)')
    expect(whyFull([volume(0.3, 2)], mark)).toContain('nearly full: 0.3 GiB free at /data')
  })
})
