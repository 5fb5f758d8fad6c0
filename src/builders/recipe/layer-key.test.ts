import fc from 'fast-check'
import { expect, test } from 'vitest'
import { describeChange, layerKey, layerParts, namedVariablesDigest } from './layer-key.ts'

const word = fc.string({ minLength: 1, maxLength: 8 })
const words = fc.array(word, { maxLength: 3 })
const recipe = fc.record({ os: fc.option(word), base: words, prepareCommands: words, cache: words })

test('keys are equal exactly when os, base, prepareCommands, cache and the toolchains are', () => {
  const input = fc.tuple(recipe, words)
  fc.assert(
    fc.property(input, input, ([a, toolsA], [b, toolsB]) => {
      const [keyA, keyB] = [layerKey(layerParts(a, toolsA, {})), layerKey(layerParts(b, toolsB, {}))]
      expect(keyA === keyB).toBe(JSON.stringify([a, toolsA]) === JSON.stringify([b, toolsB]))
    }),
  )
})

test('a change of one part changes the key and is named; what was not changed is not', () => {
  fc.assert(
    fc.property(recipe, fc.constantFrom('os', 'base', 'prepareCommands', 'cache'), word, (before, part, more) => {
      const after = part === 'os' ? { ...before, os: `${before.os ?? ''}${more}` } : { ...before, [part]: [...before[part], more] }
      const [a, b] = [layerParts(before, [], {}), layerParts(after, [], {})]
      expect(layerKey(a)).not.toBe(layerKey(b))
      expect(describeChange(a, b)).toBe(`build.${part} changed`)
      expect(layerKey(layerParts({ ...before }, [], {}))).toBe(layerKey(a))
    }),
  )
})

test('items do not run into each other', () => {
  const key = (prepareCommands: string[]) => layerKey(layerParts({ os: null, base: [], prepareCommands, cache: [] }, [], {}))
  expect(key(['a', 'b'])).not.toBe(key(['a,b']))
  expect(key(['a b'])).not.toBe(key(['a', 'b']))
})

test('variables count exactly when the commands name them', () => {
  const commands = ['curl -o tool "https://example.com/$VERSION"', `echo $${'{'}ARCH:-none}`]
  const digest = namedVariablesDigest(commands, { VERSION: '1', ARCH: 'arm', OTHER: 'x' })
  expect(namedVariablesDigest(commands, { ARCH: 'arm', OTHER: 'y', VERSION: '1' })).toBe(digest)
  expect(namedVariablesDigest(commands, { VERSION: '2', ARCH: 'arm' })).not.toBe(digest)
  expect(namedVariablesDigest(commands, { VERSION: '1' })).not.toBe(digest)
  expect(namedVariablesDigest(['make'], { VERSION: '1' })).toBe('')
})

test('the values of variables can not be read from the key or its parts', () => {
  const parts = layerParts({ os: null, base: [], prepareCommands: ['echo $TOKEN'], cache: [] }, [], { TOKEN: 'very-secret-value' })
  expect(JSON.stringify(parts)).not.toContain('very-secret-value')
})

test('several changes are told in one sentence', () => {
  const a = layerParts({ os: null, base: [], prepareCommands: [], cache: [] }, [], {})
  const b = layerParts({ os: 'alpine', base: ['go'], prepareCommands: [], cache: ['x'] }, ['go 1.22'], {})
  expect(describeChange(a, b)).toBe('build.os, build.base, build.cache and a toolchain of the host changed')
})
