import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { treeDigest } from '../../src/core/tree-digest.ts'
import type { Source } from '../../src/domain/deployment.ts'
import type { Digest } from '../../src/domain/ids.ts'
import { packDirectory } from '../../src/sources/pack-directory.ts'
import type { SourceFetcher } from '../../src/sources/source.ts'
import { createUploadStore } from '../../src/sources/upload.ts'
import { GitRepo, type TreeFiles, writeFiles } from '../support/git-repo.ts'
import { hostGitSource } from '../support/git-source.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const FILES: TreeFiles = { 'a.txt': 'one', 'bin/run': { script: '#!/bin/sh\n' }, 'bin/alias': { link: 'run' } }
const signal = new AbortController().signal

/** What every fetcher must do, whatever it fetches from. */
interface Driver {
  readonly fetcher: SourceFetcher
  /** A source that holds FILES. */
  readonly source: Source
  readonly missing: Source
  readonly refused: Source
}

async function gitDriver(root: string): Promise<Driver> {
  const repo = new GitRepo(join(root, 'repo'))
  repo.commit('x', FILES)
  return {
    fetcher: await hostGitSource(root),
    source: { kind: 'git', url: repo.directory, ref: 'main' },
    missing: { kind: 'git', url: join(root, 'nowhere'), ref: null },
    refused: { kind: 'git', url: '--upload-pack=x', ref: null },
  }
}

async function uploadDriver(root: string): Promise<Driver> {
  const store = createUploadStore({ directory: join(root, 'uploads') })
  mkdirSync(join(root, 'tree'))
  writeFiles(join(root, 'tree'), FILES)
  const { digest } = await store.receive((await packDirectory(join(root, 'tree'))).stream, { signal })
  return {
    fetcher: store,
    source: { kind: 'upload', digest, label: 'tree' },
    missing: { kind: 'upload', digest: `sha256:${'0'.repeat(64)}` as Digest, label: null },
    refused: { kind: 'upload', digest: '../../etc/passwd' as Digest, label: null },
  }
}

describe.each([
  ['git', gitDriver],
  ['upload', uploadDriver],
] as const)('source %s', (kind, makeDriver) => {
  async function fixture() {
    const root = temporaryDirectory()
    const driver = await makeDriver(root)
    const lines: string[] = []
    const directory = join(root, 'out')
    const fetch = (source: Source, abort: AbortSignal = signal) =>
      driver.fetcher.fetch({ source, directory, onLine: (line) => void lines.push(line), signal: abort })
    return { root, directory, lines, fetch, ...driver }
  }

  test('brings the exact tree and names its revision', async () => {
    const { root, directory, fetch, source, fetcher, lines } = await fixture()
    const revision = await fetch(source)
    expect([fetcher.kind, revision.kind]).toEqual([kind, kind])
    const expected = join(root, 'expected')
    mkdirSync(expected)
    writeFiles(expected, FILES)
    expect((await treeDigest(directory)).digest).toBe((await treeDigest(expected)).digest)
    expect(lines.length).toBeGreaterThan(0)
  })

  test('a rerun starts from an empty directory and finds the same', async () => {
    const { directory, fetch, source } = await fixture()
    const first = await fetch(source)
    writeFileSync(join(directory, 'left-over'), 'x')
    expect(await fetch(source)).toEqual(first)
    expect(readdirSync(directory).sort()).toEqual(['a.txt', 'bin'])
  })

  test('a missing source is said to be missing, and no directory stays', async () => {
    const { directory, fetch, missing } = await fixture()
    await expect(fetch(missing)).rejects.toMatchObject({ code: 'SOURCE_NOT_FOUND' })
    expect(existsSync(directory)).toBe(false)
  })

  test('I9: what could never be fetched is refused by validate, and by fetch again', async () => {
    const { fetcher, fetch, source, refused } = await fixture()
    expect(() => fetcher.validate(source)).not.toThrow()
    expect(() => fetcher.validate(refused)).toThrow(expect.objectContaining({ code: 'SOURCE_REFUSED' }))
    await expect(fetch(refused)).rejects.toMatchObject({ code: 'SOURCE_REFUSED' })
  })

  test('an abort before the start fetches nothing', async () => {
    const { directory, fetch, source } = await fixture()
    await expect(fetch(source, AbortSignal.abort(new Error('canceled')))).rejects.toThrow('canceled')
    expect(existsSync(directory)).toBe(false)
  })

  test('another kind of source is a mistake of ours, said at once', async () => {
    const { fetcher } = await fixture()
    expect(() => fetcher.validate({ kind: 'image', reference: 'x' })).toThrow(expect.objectContaining({ code: 'INTERNAL' }))
  })
})
