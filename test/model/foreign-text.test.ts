import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { findImageFailureCause } from '../../src/builders/dockerfile/failure-cause.ts'
import { selectDeployFiles } from '../../src/builders/recipe/deploy-files.ts'
import { findFailureCause } from '../../src/builders/recipe/failure-cause.ts'
import { nearest } from '../../src/config/nearest.ts'
import { IgnoreFile } from '../../src/core/ignore-file.ts'
import { LIMITS } from '../../src/core/limits.ts'
import { LineSplitter } from '../../src/core/lines.ts'
import { createRedactorInSlices } from '../../src/core/redact.ts'
import { findLeavingLink } from '../../src/core/tree-links.ts'
import type { TreeEntry } from '../../src/core/walk-tree.ts'
import { LeakMatcher } from '../../src/scanner/leak-matcher.ts'
import { matchTrigger } from '../../src/sources/webhooks/trigger-matchers.ts'
import { FOREIGN_TEXT, MARKS } from '../support/foreign-text.ts'
import { heldLoop } from '../support/held-loop.ts'

const SOURCE = resolve(import.meta.dirname, '../../src')
const files = readdirSync(SOURCE, { recursive: true, encoding: 'utf8' }).filter(
  (file) => file.endsWith('.ts') && !file.endsWith('.test.ts'),
)

test('I12: every file in which a pattern or a parser may meet foreign text is in the list, with its bound', () => {
  const marked = files.filter((file) => {
    const text = readFileSync(join(SOURCE, file), 'utf8')
    return Object.values(MARKS).some((mark) => mark.test(text))
  })
  expect(marked.sort()).toEqual(Object.keys(FOREIGN_TEXT).sort())
})

/** Longest hold of the loop. Slices are 8 ms; the rest is for what can't be cut, and for code that runs the first time. */
const HELD_MAX_MS = 50
const { signal } = new AbortController()
const entry = (path: string, target: string | null = null): TreeEntry => {
  return { path, kind: target === null ? 'file' : 'symlink', mode: 0o644, bytes: 1, hardLinks: 1, uid: 0, target }
}
const NAMES = Array.from({ length: 600 }, (_, n) => entry(`${'a'.repeat(240)}${n}`))
const DEEP = Array.from({ length: 200 }, (_, n) => entry(`${'a/'.repeat(500)}${n}`))
const SLOW = (length: number) => `*${'a?'.repeat(length / 2)}b*`
const lines = (text: string) =>
  Array.from({ length: LIMITS.errorLogTailLines }, () => text.repeat(LIMITS.logLineBytes).slice(0, LIMITS.logLineBytes))
/** Beyond every bound that a project's variables have together. */
const SECRETS = Array.from({ length: 300 }, (_, n) => ({ name: `S${n}`, value: `${n}-${'abcdefgh'.repeat(5)}\n`.repeat(1400) }))

describe('I12: the worst of each holds the event loop for no longer than a few slices', () => {
  test.each<[string, () => Promise<unknown> | unknown]>([
    [
      '.deployignore',
      () =>
        select(
          NAMES,
          ['.'],
          Array.from({ length: LIMITS.ignoreFileRules }, () => SLOW(40)),
        ),
    ],
    [
      '.deployignore, deep paths',
      () =>
        select(
          DEEP,
          ['.'],
          Array.from({ length: 1000 }, () => `**/${SLOW(100)}/**/x?`),
        ),
    ],
    [
      'deployFiles',
      () =>
        select(
          NAMES,
          Array.from({ length: LIMITS.configListItems }, () => SLOW(500)),
        ),
    ],
    [
      'deployFiles with a cut',
      () =>
        select(
          DEEP,
          Array.from({ length: LIMITS.configListItems }, () => `**/~/${'*/'.repeat(200)}*?x`),
        ),
    ],
    [
      'trigger.watch',
      () =>
        matchTrigger(
          { watch: Array.from({ length: LIMITS.configListItems }, () => SLOW(500)), tags: null },
          {
            ref: { kind: 'branch', name: 'main' },
            changedPaths: Array.from({ length: LIMITS.webhookPaths }, (_, n) => `${'a'.repeat(1000)}${n}`),
          },
        ),
    ],
    [
      'trigger.tags',
      () =>
        matchTrigger(
          { watch: [], tags: SLOW(LIMITS.refLength - 4) },
          { ref: { kind: 'tag', name: 'a'.repeat(LIMITS.refLength) }, changedPaths: null },
        ),
    ],
    [
      'links through links',
      () => findLeavingLink(Array.from({ length: 3000 }, (_, n) => entry(`l${n}`, `${'a/../'.repeat(190)}l${n + 1}`))),
    ],
    ['a redactor of many long secrets', () => createRedactorInSlices(SECRETS.map(({ value }) => value))],
    ['a search for many long secrets', () => LeakMatcher.make(SECRETS)],
    ['a line without an end', () => new LineSplitter(() => {}).push(Buffer.alloc(LIMITS.logChunkBytes, 0x61))],
    ['escape sequences without an end', () => new LineSplitter(() => {}).push(Buffer.from('\u009d'.repeat(LIMITS.logLineBytes)))],
    ['the cause of a failed build', () => findFailureCause({ exitCode: 1, signal: null, oomKilled: false, tail: lines('a:') })],
    ['the cause of a failed image build', () => findImageFailureCause({ step: 'RUN x', reason: lines('a:')[0] ?? '', tail: [] })],
    [
      'a key that nobody knows',
      () => Array.from({ length: 50 }, () => nearest('a'.repeat(LIMITS.configBytes), ['build', 'run', 'deploy'])),
    ],
  ])('%s', async (_, work) => {
    const held = await heldLoop(async () => {
      await Promise.resolve()
        .then(work)
        .catch((error) => expect(error).toMatchObject({ code: 'WORK_TOO_LARGE' }))
    })
    expect(held).toBeLessThan(HELD_MAX_MS)
  })
})

async function select(entries: readonly TreeEntry[], patterns: readonly string[], rules: readonly string[] = []) {
  return selectDeployFiles(entries, patterns, {
    key: 'build.deployFiles',
    ignored: await IgnoreFile.parse(rules.join('\n'), '.deployignore'),
    signal,
  })
}
