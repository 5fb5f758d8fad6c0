import fc from 'fast-check'
import { expect, test } from 'vitest'
import { IgnoreFile } from '../../core/ignore-file.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'
import { selectDeployFiles } from './deploy-files.ts'

/** Files and, as a walk finds them, the directories above them. */
function tree(paths: readonly string[]): TreeEntry[] {
  const entries = new Map<string, TreeEntry>()
  const common = { mode: 0o644, bytes: 1, hardLinks: 1, uid: 0, target: null }
  for (const path of paths) {
    const names = path.split('/')
    for (let end = 1; end < names.length; end++) {
      const directory = names.slice(0, end).join('/')
      entries.set(directory, { path: directory, kind: 'directory', ...common })
    }
  }
  for (const path of paths) if (!entries.has(path)) entries.set(path, { path, kind: 'file', ...common })
  return [...entries.values()].sort((a, b) => (a.path < b.path ? -1 : 1))
}

const options = { key: 'build.deployFiles', signal: new AbortController().signal }

async function select(paths: readonly string[], patterns: readonly string[], rules?: string): Promise<Record<string, string>> {
  const ignored = rules === undefined ? null : await IgnoreFile.parse(rules, '.deployignore')
  const { files } = await selectDeployFiles(tree(paths), patterns, { ...options, ignored })
  return Object.fromEntries([...files].filter(([, entry]) => entry.kind === 'file').map(([target, entry]) => [target, entry.path]))
}

const APP = ['package.json', 'dist/server.js', 'dist/public/index.html', 'node_modules/x/index.js', 'src/server.ts', '.env.example']

test.each([
  ['a path keeps its directories', ['dist'], ['dist/public/index.html', 'dist/server.js']],
  ['a trailing slash changes nothing', ['dist/'], ['dist/public/index.html', 'dist/server.js']],
  ['~ cuts there', ['dist/~'], ['public/index.html', 'server.js']],
  ['~ may stand before a name', ['dist/~public'], ['public/index.html']],
  ['~ may stand in the middle', ['./dist/~/public'], ['public/index.html']],
  ['~ after a wildcard', ['*/~/server.*'], ['server.js', 'server.ts']],
  ['a file by name', ['package.json'], ['package.json']],
  ['patterns', ['dist/**/*.html', '*.json'], ['dist/public/index.html', 'package.json']],
  ['names that begin with a dot are no exception', ['.*'], ['.env.example']],
  ['a leading slash means the root of the build', ['/dist/server.js'], ['dist/server.js']],
] as const)('%s', async (_, patterns, expected) => {
  expect(Object.keys(await select(APP, patterns)).sort()).toEqual([...expected].sort())
})

test.each(['.', './', '/', '**', './**', '~', '/~'])('%s takes all', async (pattern) => {
  expect(Object.keys(await select(APP, [pattern])).sort()).toEqual([...APP].sort())
})

test('the later pattern wins where two put a file at one place', async () => {
  expect(await select(['a/x', 'b/x'], ['a/~', 'b/~'])).toEqual({ x: 'b/x' })
})

test('a file and a directory at one place are refused', async () => {
  await expect(select(['a/x', 'b/a/x/y'], ['a', 'b/~'])).rejects.toThrow('puts both a/x and b/a/x at a/x')
})

test('.deployignore leaves out, and nothing below what it leaves out comes back', async () => {
  expect(Object.keys(await select(APP, ['.'], 'node_modules/\n*.ts\n!node_modules/x/index.js\n')).sort()).toEqual(
    ['.env.example', 'dist/public/index.html', 'dist/server.js', 'package.json'].sort(),
  )
})

test('patterns that match nothing are named', async () => {
  expect((await selectDeployFiles(tree(APP), ['dist', 'build/~'], options)).unmatched).toEqual(['build/~'])
})

test.each(['../x', 'a/../../x', '~/../x'])('I9: %s is refused', async (pattern) => {
  await expect(select(APP, [pattern])).rejects.toThrow(/leaves the build/)
})

test('more than one ~ is refused', async () => {
  await expect(select(APP, ['~a/~b'])).rejects.toThrow(/more than one `~`/)
})

test('agrees with a slow and obvious model', async () => {
  const name = fc.constantFrom('a', 'b', 'ab', 'a.b')
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((names) => names.join('/'))
  const segment = fc.constantFrom('a', 'b', '*', 'a*', '?', '**', 'ab')
  const pattern = fc
    .tuple(fc.array(segment, { maxLength: 2 }), fc.constantFrom('', '~/', '~'), fc.array(segment, { maxLength: 2 }))
    .filter(([before, mark, after]) => !(mark === '' && before.length + after.length === 0))
    .map(([before, mark, after]) => `${before.map((part) => `${part}/`).join('')}${mark}${after.join('/')}`)
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(path, { maxLength: 8 }), fc.array(pattern, { minLength: 1, maxLength: 3 }), async (paths, patterns) => {
      const files = tree(paths)
        .filter((entry) => entry.kind === 'file')
        .map((entry) => entry.path)
      const expected = model(files, patterns)
      const targets = Object.keys(expected)
      // A file where another pattern needs a directory is refused; that has a test of its own.
      fc.pre(!targets.some((target) => targets.some((other) => other.startsWith(`${target}/`))))
      expect(await select(files, patterns)).toEqual(expected)
    }),
    { numRuns: 2000 },
  )
})

/** Every way to split a path into cut, matched and below, each part tried against a regular expression; the shortest cut wins. */
function model(files: readonly string[], patterns: readonly string[]): Record<string, string> {
  const chosen: [string, string][] = []
  for (const pattern of patterns) {
    for (const file of files) {
      const [cut] = cutsOf(pattern, file.split('/'))
      if (cut !== undefined) chosen.push([file.split('/').slice(cut).join('/'), file])
    }
  }
  return Object.fromEntries(chosen)
}

function cutsOf(pattern: string, names: readonly string[]): number[] {
  const mark = pattern.indexOf('~')
  const before = expression(mark === -1 ? '' : pattern.slice(0, mark))
  const match = expression(pattern.slice(mark + 1))
  const ends = [...names.keys(), names.length]
  const matchesFrom = (cut: number) =>
    ends.some((end) => (end > cut || (end === cut && match.source === '^$')) && match.test(joined(names.slice(cut, end))))
  return [...names.keys()].filter((cut) => before.test(joined(names.slice(0, cut))) && matchesFrom(cut))
}

const joined = (names: readonly string[]) => names.map((name) => `${name}/`).join('')

function expression(pattern: string): RegExp {
  const parts = pattern.split('/').filter((part) => part !== '')
  const source = parts.map((part) =>
    part === '**'
      ? '(?:[^/]+/)*'
      : `${part.replace(/[.*?]/g, (character) => ({ '.': '\\.', '*': '[^/]*', '?': '[^/]' })[character] ?? '')}/`,
  )
  return new RegExp(`^${source.join('')}$`)
}
