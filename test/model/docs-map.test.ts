import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'

const DOCS = fileURLToPath(new URL('../../docs/', import.meta.url))
const map = readFileSync(`${DOCS}README.md`, 'utf8')
const linked = [...map.matchAll(/\]\(([^)#]+)\)/g)].map(([, path]) => path ?? '')

test('every page of docs/ stands in its map', () => {
  const pages = readdirSync(DOCS).filter((name) => name.endsWith('.md') && name !== 'README.md')
  expect(pages.filter((page) => !linked.includes(page))).toEqual([])
})

test('every link of the map leads somewhere', () => {
  expect(linked.filter((path) => !existsSync(`${DOCS}${path}`))).toEqual([])
})
