import { chmodSync, mkdirSync, mkdtempSync, readdirSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ForeignPrograms } from '../../src/core/foreign-programs.ts'
import { createLogger } from '../../src/core/log.ts'
import { printable } from '../../src/core/printable.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { createGit } from '../../src/sources/git-command.ts'
import { gitFailure } from '../../src/sources/git-failure.ts'
import type { SourceFetcher } from '../../src/sources/source.ts'
import { GitRepo } from '../support/git-repo.ts'
import { hostGitSource, hostPrograms } from '../support/git-source.ts'
import { type Bait, hostileFiles, makeHostile } from '../support/hostile-repo.ts'
import { Seeded } from '../support/seeded.ts'

const CANARY = 'slk_canary0Zq7xK2vWm9Tr4LsPdN8b'
const FUZZ_MS = 20_000

const random = new Seeded()
const root = mkdtempSync(join(tmpdir(), 'shiplock-fuzz-'))
const serverLog: string[] = []
let bait: Bait
let template: GitRepo
let commit: string
let programs: ForeignPrograms
let source: SourceFetcher

beforeAll(async () => {
  const keep = join(root, 'private')
  mkdirSync(keep, { mode: 0o700 })
  mkdirSync(join(root, 'marks'))
  chmodSync(join(root, 'marks'), 0o777)
  const secret = (name: string, text: string) => {
    writeFileSync(join(keep, name), text, { mode: 0o600 })
    return join(keep, name)
  }
  const hidden = new GitRepo(join(keep, 'hidden'))
  const inside = hidden.commit(CANARY, { [CANARY]: CANARY })
  chmodSync(hidden.directory, 0o700)
  bait = {
    secrets: [
      secret('admin-token', `${CANARY}\n`),
      secret('refs', `# pack-refs with: peeled fully-peeled sorted \n${inside} refs/heads/${CANARY}\n`),
      secret('head', `ref: refs/heads/${CANARY}\n`),
      secret('config', `[core]\n\tbare = ${CANARY}\n`),
      secret('alternates', `${join(hidden.directory, '.git', 'objects')}\n`),
    ],
    privateRepository: join(hidden.directory, '.git'),
    marks: join(root, 'marks'),
  }
  template = new GitRepo(join(root, 'template'))
  commit = template.commit(`a message`, hostileFiles(bait))
  template.git('tag', 'v1')
  programs = await hostPrograms(root)
  const logger = createLogger('debug', (line) => void serverLog.push(line))
  source = await hostGitSource(root, { programs, logger })
})
afterAll(() => removeTree(root))

/** Through the front: the address is checked, the repository is looked at, git runs, the tree is taken. */
async function fetched(url: string, directory: string): Promise<string> {
  const lines: string[] = []
  const signal = AbortSignal.timeout(60_000)
  const ref = random.pick<string | null>([null, 'main', 'v1', commit, commit.slice(0, 9), 'evil'])
  try {
    const revision = await source.fetch({ source: { kind: 'git', url, ref }, directory, onLine: (line) => void lines.push(line), signal })
    return JSON.stringify([revision, lines])
  } catch (error) {
    const { message, details, hint } = error as Error & { details?: unknown; hint?: unknown }
    return JSON.stringify([message, details, hint, lines])
  } finally {
    await removeTree(directory)
  }
}

/** As if the look at the repository had missed something: git itself is let loose on it, in the room. */
async function served(repository: string): Promise<string> {
  const directory = mkdtempSync(join(root, 'room-'))
  const mount = { source: repository, target: '/run/shiplock/repository' }
  const room = await programs.open({ purpose: 'git', projectId: null, directory, mounts: [mount], memoryMb: 512 })
  const path = programs.isConfined ? mount.target : mount.source
  const env = { GIT_CONFIG_COUNT: '1', GIT_CONFIG_KEY_0: 'safe.directory', GIT_CONFIG_VALUE_0: '*' }
  const about = {
    searchPath: '/usr/bin:/bin',
    protocolVersion: 2,
    caFile: null,
    configuration: null,
    settings: [],
    home: '/nonexistent',
  } as const
  const git = createGit({ ...about, room, protocol: 'file', env })
  const said: string[] = []
  try {
    const signal = AbortSignal.timeout(60_000)
    for (const args of [
      ['ls-remote', '--', `file://${path}`],
      ['init', '--quiet'],
      ['fetch', '--quiet', '--', `file://${path}`, '+refs/*:refs/x/*'],
      ['-C', path, 'log', '--all', '--format=%H %s'],
    ]) {
      const result = await git(args, { signal })
      said.push(result.stdout, ...result.stderrTail, gitFailure('x', result).message)
    }
  } finally {
    await room.close()
    await removeTree(directory)
  }
  return said.join('\n')
}

test(`I13: no repository makes git read what the server may read, or run anything (seed ${random.seed})`, { timeout: 90_000 }, async () => {
  const until = performance.now() + FUZZ_MS
  let count = 0
  while (performance.now() < until || count < 4) {
    const isBare = random.below(2) === 0
    const base = join(root, `r${count++}`)
    const git = isBare ? base : join(base, '.git')
    const done = makeHostile(join(template.directory, '.git'), git, bait, random)
    const answers = [await fetched(base, join(root, 'checkout')), await served(git)]
    const about = `seed ${random.seed}, repository ${count}: ${done.join('; ')}\n${printable(answers.join('\n')).slice(0, 2000)}`
    expect(answers.join('\n').includes(CANARY.slice(4, 20)), about).toBe(false)
    expect(readdirSync(bait.marks), about).toEqual([])
    await removeTree(base)
  }
  expect(serverLog.join('\n')).not.toContain(CANARY.slice(4, 20))
  console.info(`${count} hostile repositories, seed ${random.seed}`)
})
