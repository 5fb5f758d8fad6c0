import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'

test('migrations are numbered from 1 on, without a gap, each number once', () => {
  const files = readdirSync(new URL('../../migrations/', import.meta.url)).sort()
  expect(files.map((file) => file.slice(0, 5))).toEqual(files.map((_, index) => `${String(index + 1).padStart(4, '0')}-`))
})
