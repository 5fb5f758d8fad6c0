import fc from 'fast-check'
import { expect, test } from 'vitest'
import { parseImageReference } from '../../domain/image-reference.ts'
import { localTag } from './image-tag.ts'

const tagOf = (project: string, service: string, key = 'dep_1') => localTag({ names: { project, environment: 'e', service }, key })

test('legal names stand in the tag as they are', () => {
  expect(tagOf('main', 'api-2')).toBe('shiplock/main/api-2:dep_1')
})

test('I9: whatever a project or service is called, the tag is a legal reference', () => {
  fc.assert(
    fc.property(fc.string(), fc.string(), fc.string(), (project, service, key) => {
      expect(parseImageReference(tagOf(project, service, key))).not.toHaveProperty('problem')
    }),
  )
})

test('I10: names that differ only in what no tag may hold stay apart', () => {
  const tags = ['a-', 'a--', 'A', 'a', 'ä', 'a/b', 'a.b', '..', ''].map((project) => tagOf(project, 'web'))
  expect(new Set(tags).size).toBe(tags.length)
})
