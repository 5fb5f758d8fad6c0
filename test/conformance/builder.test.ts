import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import { createRecipeBuilder } from '../../src/builders/recipe/recipe-builder.ts'
import { silentLogger } from '../../src/core/log.ts'
import { treeDigest } from '../../src/core/tree-digest.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { RecipeBuild } from '../../src/domain/service-config.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'
import { createTestContainerSandbox, TEST_BASES } from '../support/container-sandbox.ts'
import { dockerdMissing } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { type TreeFiles, writeFiles } from '../support/git-repo.ts'
import { createPlainSandbox } from '../support/plain-sandbox.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const RECIPE: RecipeBuild = {
  kind: 'recipe',
  base: [],
  os: null,
  prepareCommands: [],
  buildCommands: [],
  deployFiles: ['.'],
  cache: [],
  addToRunPrepare: [],
  env: {},
  timeoutMs: 60_000,
}

const SANDBOXES: readonly (readonly [string, (stateDirectory: string) => Promise<Sandbox>])[] = [
  ['no confinement at all', async () => createPlainSandbox()],
  ['what this host has', (stateDirectory) => createSandbox({ stateDirectory, logger: silentLogger })],
  ['this host without bubblewrap', (stateDirectory) => createSandbox({ stateDirectory, logger: silentLogger, kind: 'none' })],
  ['containers', async () => createTestContainerSandbox()],
]

describe.each(SANDBOXES)('recipe builder with %s', (kind, makeSandbox) => {
  const isContainers = kind === 'containers'
  beforeEach((context) => {
    const missing = isContainers ? dockerdMissing() : null
    context.skip(missing !== null, missing ?? '')
  })

  async function fixture() {
    const root = temporaryDirectory()
    const sandbox = await makeSandbox(join(root, 'sandbox'))
    const builder = createRecipeBuilder({ sandbox, logger: silentLogger, bases: isContainers ? TEST_BASES : new Map() })
    let count = 0
    const build = async (files: TreeFiles, recipe: Partial<RecipeBuild>, options: BuildOptions = {}) => {
      const number = count++
      const sourceDirectory = join(root, `source${number}`)
      mkdirSync(sourceDirectory)
      writeFiles(sourceDirectory, files)
      const before = (await treeDigest(sourceDirectory)).digest
      const lines: string[] = []
      const request = {
        key: options.key ?? `dep_${number}`,
        projectId: 'prj_1' as ProjectId,
        environmentId: 'env_1' as EnvironmentId,
        serviceEnvironmentId: 'sen_1' as ServiceEnvironmentId,
        names: { project: 'main', environment: 'production', service: 'app' },
        config: { ...RECIPE, ...recipe },
        sourceDirectory,
        workDirectory: join(root, `work${number}`),
        cacheDirectory: join(root, 'cache'),
        env: options.env ?? {},
        startCommands: options.startCommands ?? [],
        timeoutMs: options.timeoutMs ?? 60_000,
        onLine: (line: string, kind: string) => {
          if (lines.length < 1_000_000) lines.push(`${kind}: ${line}`)
          options.onLine?.(line)
        },
        signal: options.signal ?? new AbortController().signal,
      }
      try {
        const output = await builder.build(request)
        if (output.kind !== 'tree') throw new Error('not a tree')
        return { directory: output.directory, lines, log: lines.join('\n'), error: null, request }
      } catch (error) {
        return { directory: '', lines, log: lines.join('\n'), error: error as Error & { code?: string; hint?: string }, request }
      } finally {
        expect(await sandbox.list(), 'the sandbox is gone').toEqual([])
        expect((await treeDigest(sourceDirectory)).digest, 'the source is as it was').toBe(before)
      }
    }
    return { root, sandbox, builder, build }
  }
  interface BuildOptions {
    readonly key?: string
    readonly env?: Readonly<Record<string, string>>
    readonly startCommands?: readonly string[]
    readonly timeoutMs?: number
    readonly signal?: AbortSignal
    readonly onLine?: (line: string) => void
  }
  const files = (directory: string) => readdirSync(directory, { recursive: true, encoding: 'utf8' }).sort()

  test('builds in order, each item in a shell of its own, and shows what ran, how it ended and how long it took', async () => {
    const { build, sandbox } = await fixture()
    const { directory, lines, error } = await build(
      { 'src/a.txt': 'hello' },
      {
        prepareCommands: ['echo prepared > ../prepared'],
        buildCommands: ['mkdir dist && cd dist && X=1', 'test -z "$X" && cat ../prepared src/a.txt', 'cd dist\ncp ../src/a.txt b.txt'],
        deployFiles: ['dist/~'],
      },
    )
    expect(error).toBeNull()
    expect(files(directory)).toEqual(['b.txt'])
    const text = lines.map((line) => line.replace(/ in [\d.]+ m?s$/, ' in N'))
    expect(text[0]).toBe(`engine: ${sandbox.description.summary}`)
    expect(text[1]).toMatch(/^engine: limits: .*10 GiB of disk, 1 min$/)
    expect(text.slice(2).filter((line) => !/^engine: base (layer|debian)/.test(line))).toEqual([
      'engine: source: 1 files',
      'command: $ echo prepared > ../prepared',
      'engine: → exit 0 in N',
      'command: $ mkdir dist && cd dist && X=1',
      'engine: → exit 0 in N',
      'command: $ test -z "$X" && cat ../prepared src/a.txt',
      'build: prepared',
      'build: hello',
      'engine: → exit 0 in N',
      'command: $ cd dist',
      'command: > cp ../src/a.txt b.txt',
      'engine: → exit 0 in N',
      'engine: artifact: 1 files from dist/~',
    ])
  })

  test('a failing command ends the build: which, exit code, cause, one suggestion', async () => {
    const { build } = await fixture()
    const { error, log } = await build({}, { buildCommands: ['true', 'no-such-program --x', 'echo not reached'] })
    expect(error).toMatchObject({ code: 'BUILD_FAILED' })
    expect(error?.message).toMatch(
      /^build\.buildCommands\[1\] `no-such-program --x` failed \(exit 127 after [\d.]+ m?s\): the command no-such-program is not there$/,
    )
    expect(error?.hint).toContain('build.base')
    expect(log).not.toContain('not reached')
    expect(log).toContain('→ exit 127')
  })

  test('a script of several lines stops at the first that fails', async () => {
    const { build } = await fixture()
    const { error, log } = await build({}, { buildCommands: ['echo one\nfalse\necho two'] })
    expect(error).toMatchObject({ code: 'BUILD_FAILED' })
    expect(log).toContain('build: one')
    expect(log).not.toContain('build: two')
  })

  test('variables arrive whole, the recipe’s own win, and nothing of the server’s environment comes along', async () => {
    const { build } = await fixture()
    const odd = 'line one\nline "two" \'three\' $HOME `id`'
    process.env.SHIPLOCK_TEST_SECRET = 'of-the-server'
    onTestFinished(() => void delete process.env.SHIPLOCK_TEST_SECRET)
    const { directory, error } = await build(
      {},
      { buildCommands: ['printf "%s" "$ODD" > odd; printf "%s" "$BOTH" > both; env > env; test -w "$HOME"'], env: { BOTH: 'recipe' } },
      { env: { ODD: odd, BOTH: 'given' } },
    )
    expect(error).toBeNull()
    expect(readFileSync(join(directory, 'odd'), 'utf8')).toBe(odd)
    expect(readFileSync(join(directory, 'both'), 'utf8')).toBe('recipe')
    expect(readFileSync(join(directory, 'env'), 'utf8')).not.toContain('of-the-server')
  })

  test('a variable with an unusable name is refused', async () => {
    const { build } = await fixture()
    expect((await build({}, { buildCommands: ['true'], env: { 'A;B': 'x' } })).error).toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('I12: a build that prints without end is cut down, and its end is shown', async () => {
    const { build } = await fixture()
    const { error, lines } = await build(
      {},
      { buildCommands: ['yes "a line of output that fills the log" | head -c 60000000; echo; echo the end; exit 3'] },
    )
    expect(error).toMatchObject({ code: 'BUILD_FAILED' })
    expect(lines.reduce((sum, line) => sum + line.length, 0)).toBeLessThan(12_000_000)
    expect(lines.some((line) => /were dropped/.test(line))).toBe(true)
    expect(lines).toContain('build: the end')
  })

  test('a build that hangs, ignoring SIGTERM, is ended when its time is over', async () => {
    const { build } = await fixture()
    const { error, log } = await build(
      {},
      { buildCommands: ["trap '' TERM INT HUP; echo waiting; while true; do sleep 1; done"], timeoutMs: 700 },
    )
    expect(error).toMatchObject({ code: 'DEPLOYMENT_TIMEOUT', message: expect.stringContaining('build.buildCommands[0]') })
    expect(log).toContain('the time for the build is over')
  })

  test('an abort ends it with the reason that was given', async () => {
    const { build } = await fixture()
    const abort = new AbortController()
    const { error } = await build(
      {},
      { buildCommands: ["trap '' TERM; echo started; sleep 600 & sleep 600"] },
      { signal: abort.signal, onLine: (line) => line === 'started' && abort.abort(new Error('canceled by ada')) },
    )
    expect(error?.message).toBe('canceled by ada')
  })

  test('children that a command leaves behind are ended with it', async () => {
    const { build, root } = await fixture()
    const beat = join(root, 'work0', 'build', 'source', 'beat')
    const { error } = await build(
      {},
      { buildCommands: ['(while :; do echo x >> beat; sleep 0.05; done) & sleep 0.2; echo left; exit 0', 'true'] },
    )
    expect(error).toBeNull()
    expect(existsSync(beat)).toBe(false)
  })

  test('a build that leaves nothing to deploy says what there is', async () => {
    const { build } = await fixture()
    const { error } = await build({ 'a.txt': 'x', 'src/b': 'x' }, { buildCommands: ['true'], deployFiles: ['dist/~'] })
    expect(error).toMatchObject({ code: 'BUILD_EMPTY', message: 'build.deployFiles (dist/~) takes no file; the build has a.txt, src/' })
  })

  test('a start command without its file is refused, both paths shown', async () => {
    const { build } = await fixture()
    const { error } = await build({ 'dist/server.js': 'x' }, { deployFiles: ['dist/~'] }, { startCommands: ['node dist/server.js'] })
    expect(error).toMatchObject({
      code: 'START_FILE_MISSING',
      message: expect.stringMatching(/needs dist\/server\.js, but the artifact has server\.js/),
    })
  })

  test('links stay links, modes stay, .deployignore leaves out', async () => {
    const { build } = await fixture()
    const { directory } = await build(
      { 'bin/run': { script: '#!/bin/sh\n' }, 'bin/alias': { link: 'run' }, '.deployignore': '*.map\n', 'a.js.map': 'x', 'a.js': 'x' },
      { buildCommands: ['true'] },
    )
    expect(files(directory)).toEqual(['.deployignore', 'a.js', 'bin', 'bin/alias', 'bin/run'])
    expect((await treeDigest(directory)).files).toBe(4)
  })

  test('a link with a whole path into the build becomes a relative one', async () => {
    const { build } = await fixture()
    const { directory, error } = await build(
      { 'dist/a.js': 'x' },
      { buildCommands: ['ln -s "$PWD/dist/a.js" dist/b.js'], deployFiles: ['dist/~'] },
    )
    expect(error).toBeNull()
    expect(readlinkSync(join(directory, 'b.js'))).toBe('a.js')
  })

  test.each([
    ['ln -s /etc/passwd l', /^l is a link that leaves the artifact \(to \/etc\/passwd\)/],
    ['mkdir d && ln -s ../../x d/l', /^d\/l is a link that leaves/],
    ['mkfifo pipe', /^pipe is a socket, pipe or device/],
  ])('I9: %s can’t be deployed', async (command, reason) => {
    const { build } = await fixture()
    expect((await build({}, { buildCommands: [command, 'touch a'] })).error).toMatchObject({
      code: 'BUILD_FAILED',
      message: expect.stringMatching(reason),
    })
  })

  test('a base that the host lacks is refused with what it has', async (context) => {
    context.skip(isContainers, 'by design: containers have images')
    const { build } = await fixture()
    const major = process.versions.node.split('.')[0]
    expect((await build({ a: 'x' }, { base: [`nodejs@${major}`] })).log).toContain(`base nodejs@${major}: nodejs ${process.versions.node}`)
    const { error } = await build({}, { base: ['nodejs@6'], buildCommands: ['true'] })
    expect(error).toMatchObject({
      code: 'BASE_UNAVAILABLE',
      message: expect.stringContaining(`this host has nodejs ${process.versions.node}`),
    })
    expect((await build({}, { base: ['cobol@85'] })).error).toMatchObject({ code: 'BASE_UNAVAILABLE' })
  })

  test('the build layer: kept after success, restored without overwriting, dropped when the recipe changes', async () => {
    const { build } = await fixture()
    const recipe = {
      cache: ['deps'],
      buildCommands: ['mkdir -p deps && date +%N >> deps/log && cat deps/given 2>/dev/null || true'],
      deployFiles: ['deps'],
    }
    expect((await build({}, recipe)).log).toContain('build layer: miss (nothing was kept yet)')
    const second = await build({ 'deps/given': 'of the source' }, recipe)
    expect(second.log).toMatch(/build layer: hit, 1 files restored from deps/)
    expect(readFileSync(join(second.directory, 'deps/log'), 'utf8').trim().split('\n')).toHaveLength(2)
    const third = await build({ 'deps/given': 'newer' }, recipe)
    expect(third.log).toContain('build: newer')
    const failed = await build({}, { ...recipe, buildCommands: ['rm -r deps', 'false'] })
    expect(failed.error).not.toBeNull()
    expect((await build({}, recipe)).log).toMatch(/build layer: hit, 2 files/)
    expect((await build({}, { ...recipe, prepareCommands: ['true'] })).log).toContain('build layer: miss (build.prepareCommands changed)')
  })

  test('a rerun with the same key starts clean after a build that was cut off', async () => {
    const { build, builder, sandbox } = await fixture()
    const abort = new AbortController()
    const cut = await build(
      {},
      { buildCommands: ['touch half; echo here; sleep 600'] },
      { signal: abort.signal, onLine: (line) => line === 'here' && abort.abort(new Error('x')) },
    )
    expect(cut.error?.message).toBe('x')
    await builder.cleanUp(cut.request)
    await builder.cleanUp(cut.request)
    expect(existsSync(join(cut.request.workDirectory, 'build'))).toBe(false)
    expect(await sandbox.list()).toEqual([])
    const again = await builder.build({
      ...cut.request,
      config: { ...RECIPE, buildCommands: ['test ! -e half && touch whole'] },
      signal: new AbortController().signal,
    })
    expect(again.kind === 'tree' && files(again.directory)).toEqual(['whole'])
  })

  test('equal input has an equal key; each part of it counts', async () => {
    const { builder, root } = await fixture()
    const sourceDirectory = join(root, 'keyed')
    mkdirSync(sourceDirectory)
    writeFiles(sourceDirectory, { a: '1' })
    const base = { config: { ...RECIPE, buildCommands: ['true'] }, sourceDirectory, env: { A: '1', B: '2' } }
    const key = await builder.buildKey(base)
    expect(await builder.buildKey({ ...base, env: { B: '2', A: '1' } })).toBe(key)
    expect(await builder.buildKey({ ...base, config: { ...base.config, timeoutMs: 1, cache: ['x'] } })).toBe(key)
    const others = [
      { ...base, env: { A: '1' } },
      { ...base, config: { ...base.config, buildCommands: ['false'] } },
      { ...base, config: { ...base.config, deployFiles: ['a'] } },
      { ...base, config: { ...base.config, base: ['nodejs'] } },
    ]
    for (const other of others) expect(await builder.buildKey(other)).not.toBe(key)
    writeFiles(sourceDirectory, { a: '2' })
    expect(await builder.buildKey(base)).not.toBe(key)
  })

  test('a build that forks without end meets its bound and is ended', async (context) => {
    const { build, sandbox } = await fixture()
    context.skip(sandbox.description.summary.includes('(test)'), 'by design: the pass-through sandbox bounds nothing')
    context.skip(!sandbox.description.summary.includes('process count'), 'this host can’t bound the number of processes')
    const { error } = await build(
      {},
      { buildCommands: ['bomb() { sleep 5 & bomb; }; bomb; while :; do sleep 0.1 & done'] },
      { timeoutMs: 1500 },
    )
    expect(['DEPLOYMENT_TIMEOUT', 'BUILD_FAILED']).toContain(error?.code)
  })

  test('what has escaped its process group holds nothing up and is ended', async (context) => {
    const { build, sandbox } = await fixture()
    context.skip(sandbox.description.summary.includes('(test)'), 'by design: the pass-through sandbox knows groups only')
    const started = performance.now()
    const { error, log } = await build({}, { buildCommands: ['setsid sh -c "sleep 300" & setsid -f sleep 300; echo done; touch a'] })
    expect(error).toBeNull()
    expect(log).toContain('build: done')
    expect(performance.now() - started).toBeLessThan(60_000)
    await eventually(async () => expect(await sandbox.list()).toEqual([]))
  })
})
