import { spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { buildFixture } from '../support/build-fixture.ts'
import { bundle } from '../support/bundle.ts'

const TOOL = [
  'mkdir -p ~/.local/bin && printf "#!/bin/sh\\necho tool of $(date +%s%N)\\n" > ~/.local/bin/tool && chmod 700 ~/.local/bin/tool',
]
const USES_TOOL = { prepareCommands: TOOL, buildCommands: ['tool > out; stat -c %a ~/.local/bin/tool >> out'] }

test('what prepareCommands left is there without running them again, on the PATH, with its permissions', async (context) => {
  const { build, sandbox } = await buildFixture()
  context.skip(!sandbox.description.filesystem, 'without bubblewrap there is no base layer')
  const first = await build({ a: '1' }, USES_TOOL)
  expect(first.error).toBeNull()
  expect(first.log).toContain('base layer: miss (nothing was kept yet)')
  expect(first.log).toMatch(/base layer: \d+ files kept/)
  const second = await build({ a: '2' }, USES_TOOL)
  expect(second.error).toBeNull()
  expect(second.log).toMatch(/base layer: hit, \d+ files; prepareCommands are skipped/)
  expect(second.log).not.toContain('$ mkdir -p ~/.local/bin')
  expect(readFileSync(join(second.directory, 'out'), 'utf8')).toMatch(/^tool of \d+\n700\n$/)
})

test('a change of os, base, prepareCommands or the cache list drops both layers, and the log names it', async (context) => {
  const { build, sandbox } = await buildFixture()
  context.skip(!sandbox.description.filesystem, 'without bubblewrap there is no base layer')
  const recipe = { ...USES_TOOL, cache: ['deps'], buildCommands: ['mkdir -p deps && touch deps/x'] }
  for (const [change, name] of [
    [{ os: 'debian' }, 'build.os'],
    [{ base: ['static'] }, 'build.base'],
    [{ prepareCommands: [...TOOL, 'true'] }, 'build.prepareCommands'],
    [{ cache: ['deps', 'more'] }, 'build.cache'],
  ] as const) {
    await build({}, recipe)
    const { log } = await build({}, { ...recipe, ...change })
    expect(log).toContain(`base layer: miss (${name} changed)`)
    expect(log).toContain(`build layer: miss (${name} changed)`)
  }
  const { log } = await build({}, { ...recipe, cache: ['deps', 'more'], buildCommands: ['true'], env: { A: '1' } })
  expect(log).toMatch(/base layer: hit/)
  expect(log).toMatch(/build layer: hit/)
})

test('commands that change the source are run in every build, since skipping them would change the next one', async (context) => {
  const { build, sandbox } = await buildFixture()
  context.skip(!sandbox.description.filesystem, 'without bubblewrap there is no base layer')
  const recipe = { prepareCommands: ['mkdir -p vendor && echo x > vendor/lib'], buildCommands: ['test -f vendor/lib'] }
  for (let round = 0; round < 2; round++) {
    const { error, log } = await build({}, recipe)
    expect(error).toBeNull()
    expect(log).toContain('base layer: nothing kept (prepareCommands changed the source, e.g. vendor')
    expect(log).toContain('Move the commands that need or change the source to build.buildCommands')
  }
  expect((await build({ kept: 'x' }, { ...recipe, prepareCommands: ['echo y > kept'] })).log).toContain('e.g. kept; they run')
})

test('a build that fails after its preparation keeps the base layer, one that fails in it does not', async (context) => {
  const { build, sandbox } = await buildFixture()
  context.skip(!sandbox.description.filesystem, 'without bubblewrap there is no base layer')
  const failed = await build({}, { prepareCommands: ['touch ~/half', 'no-such-installer'] })
  expect(failed.error?.message).toMatch(/^build\.prepareCommands\[1\] `no-such-installer` failed \(exit 127/)
  expect((await build({}, { ...USES_TOOL, buildCommands: ['false'] })).error).not.toBeNull()
  expect((await build({}, USES_TOOL)).log).toContain('base layer: hit')
})

test('a layer that was cleared is made again; what a build knows from before is not kept', async (context) => {
  const { build, caches, sandbox } = await buildFixture()
  context.skip(!sandbox.description.filesystem, 'without bubblewrap there is no base layer')
  const id = 'sen_1' as ServiceEnvironmentId
  const recipe = { ...USES_TOOL, cache: ['out'] }
  await build({}, recipe)
  expect((await caches.list()).map((entry) => entry.layer).sort()).toContain('base')
  await caches.clear(id, 'base')
  const second = await build({}, recipe)
  expect(second.log).toContain('base layer: miss')
  expect(second.log).toContain('build layer: hit')
  let cleared: Promise<unknown> = Promise.resolve()
  const third = await build(
    {},
    { ...recipe, buildCommands: ['echo here; sleep 0.5; touch out'] },
    {
      onLine: (line) => {
        if (line === 'here') cleared = caches.clear(id, 'build')
      },
    },
  )
  await cleared
  expect(third.log).toContain('build layer: nothing kept (the caches were cleared while this build ran)')
  expect((await build({}, recipe)).log).toContain('build layer: miss')
})

test('two builds of one service at once: both succeed, each with whole layers', async () => {
  const { build } = await buildFixture()
  const recipe = (number: number) => ({
    prepareCommands: [`for i in $(seq 30); do echo ${number} > ~/p$i; done`],
    buildCommands: [
      'mkdir -p deps; n=$(cat ~/p1); for i in $(seq 30); do echo $n > deps/f$i; done',
      'test "$(cat ~/p* | sort -u | wc -l)" = 1',
      'test "$(cat deps/* | sort -u | wc -l)" = 1',
    ],
    cache: ['deps'],
  })
  for (let round = 0; round < 3; round++) {
    const both = await Promise.all([build({}, recipe(1)), build({}, recipe(1)), build({}, recipe(2))])
    for (const { error } of both) expect(error).toBeNull()
  }
})

test('I5: kill -9 at any moment leaves layers that are whole and builds that succeed', async () => {
  const { root, build, cacheDirectory, sandbox } = await buildFixture()
  const program = await bundle('programs/build-forever.ts', join(root, 'program'))
  let built = 0
  for (let round = 0; round < 5; round++) {
    const child = spawn(process.execPath, [program, root, String(round * 1000)], { stdio: ['ignore', 'pipe', 'inherit'] })
    let text = ''
    await new Promise<void>((resolve) => {
      child.stdout.on('data', (chunk) => {
        text += chunk
        if (text.split('\n').filter((line) => line.startsWith('built')).length > round % 2)
          setTimeout(() => child.kill('SIGKILL'), round * 60)
      })
      child.once('close', () => resolve())
    })
    built += text.split('\n').filter((line) => line.startsWith('built')).length
    for (const layer of wholeLayers(cacheDirectory)) {
      const contents = layer.map((file) => readFileSync(file, 'utf8'))
      expect(new Set(contents).size, 'a layer is of one build').toBe(1)
      expect(contents).toHaveLength(60)
    }
  }
  expect(built).toBeGreaterThan(4)
  for (const name of await sandbox.list()) await sandbox.kill(name).then(() => sandbox.remove(name))
  expect((await build({}, { cache: ['deps'], buildCommands: ['mkdir -p deps && touch deps/x'] })).error).toBeNull()
})

/** Files of each layer that the next build could find. */
function wholeLayers(cacheDirectory: string): string[][] {
  return ['base', 'layers'].flatMap((kind) => {
    const directory = join(cacheDirectory, 'sen_1', kind)
    const names = existsSync(directory) ? readdirSync(directory).filter((name) => !name.endsWith('.incoming')) : []
    return names.map((name) => {
      const tree = join(directory, name, 'tree')
      return readdirSync(tree, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
    })
  })
}

test('I12: a build that writes more than its share of the disk is stopped, the limit named', async () => {
  const { build } = await buildFixture({ diskBytes: 20 * 1024 ** 2 })
  const { error, log } = await build({}, { buildCommands: ['echo fill; head -c 60000000 /dev/zero > big; sleep 30'] })
  expect(error).toMatchObject({ code: 'DISK_FULL', hint: expect.stringContaining('SHIPLOCK_BUILD_DISK_MB') })
  expect(error?.message).toMatch(
    /^build\.buildCommands\[0\] `echo fill; .*` was stopped: it uses 5\d(\.\d)? MiB on disk, its limit is 20 MiB$/,
  )
  expect(log).toContain('20 MiB of disk')
  expect((await build({}, { buildCommands: ['head -c 5000000 /dev/zero > fits'] })).error).toBeNull()
})

test('what a build adds to the tool caches counts, what was there before does not', async () => {
  const { build, cacheDirectory } = await buildFixture({ diskBytes: 20 * 1024 ** 2 })
  mkdirSync(join(cacheDirectory, 'sen_1', 'tools'), { recursive: true })
  writeFileSync(join(cacheDirectory, 'sen_1', 'tools', 'old'), Buffer.alloc(30 * 1024 ** 2, 1))
  expect((await build({}, { buildCommands: ['sleep 0.4; touch a'] })).error).toBeNull()
  const { error } = await build({}, { buildCommands: ['head -c 60000000 /dev/zero > "$(dirname "$npm_config_cache")/big"; sleep 30'] })
  expect(error).toMatchObject({ code: 'DISK_FULL' })
})

test('a build has the cores that it was given, 1 to 5', async (context) => {
  await expect(buildFixture({ cpus: 6 })).rejects.toThrow('1 to 5 cores')
  const { build, sandbox } = await buildFixture({ cpus: 1, memoryMb: 256 })
  context.skip(!sandbox.description.cpu, 'this host has no limit on cores')
  const { log } = await build(
    {},
    { buildCommands: ['(while :; do :; done) & (while :; do :; done) & sleep 1; kill %1 %2; times; touch a'] },
  )
  expect(log).toContain('limits: 1 cores, 256 MiB of memory')
})

test('the cache budget holds over services: the oldest goes, builds go on', async () => {
  const { build, caches } = await buildFixture({ cacheBytesMax: 3 * 1024 ** 2 })
  const recipe = { cache: ['blob'], buildCommands: ['test -f blob && echo had it; head -c 2000000 /dev/urandom > blob'] }
  const of = (name: string) => ({ serviceEnvironmentId: `sen_${name}` as ServiceEnvironmentId, projectId: 'prj_1' as ProjectId })
  expect((await build({}, recipe, of('a'))).error).toBeNull()
  expect((await build({}, recipe, of('b'))).error).toBeNull()
  const kept = (await caches.list()).filter((entry) => entry.layer === 'build').map((entry) => entry.serviceEnvironmentId)
  expect(kept).toEqual(['sen_b'])
  expect((await build({}, recipe, of('a'))).log).toContain('build layer: miss (nothing was kept yet)')
})

test.each(['../outside', '/etc', 'a/../../b'])('a cache path outside of the source is refused: %s', async (path) => {
  const { build } = await buildFixture()
  const { error } = await build({}, { cache: [path], buildCommands: ['true'] })
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('is outside of the source') })
})

test('addToRunPrepare hands over files of the finished build, copied; one that is missing is an error', async () => {
  const { build } = await buildFixture()
  const made = await build(
    { 'requirements.txt': 'flask' },
    { buildCommands: ['echo lib > made.txt'], addToRunPrepare: ['requirements.txt', 'made.txt'], deployFiles: ['made.txt'] },
  )
  expect(readdirSync(made.prepareDirectory ?? '').sort()).toEqual(['made.txt', 'requirements.txt'])
  expect(readdirSync(made.directory)).toEqual(['made.txt'])
  const missing = await build({}, { buildCommands: ['touch a'], addToRunPrepare: ['no.txt'] })
  expect(missing.error).toMatchObject({
    code: 'BUILD_EMPTY',
    message: expect.stringContaining('build.addToRunPrepare: "no.txt" matches nothing'),
  })
})

test('a directory of SHIPLOCK_BASES brings its programs', async () => {
  const { root } = await buildFixture()
  const tools = join(root, 'python-9')
  mkdirSync(join(tools, 'bin'), { recursive: true })
  writeFileSync(join(tools, 'bin', 'python3'), '#!/bin/sh\necho Python 9.9.9\n', { mode: 0o755 })
  const { build } = await buildFixture({ bases: new Map([['python@9', tools]]) })
  const { error, log } = await build({}, { base: ['python@9'], buildCommands: ['python3 --version | tee out'] })
  expect(error).toBeNull()
  expect(log).toContain('base python@9: python 9.9.9 of this host')
})
