import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { buildLimits } from '../../src/builders/recipe/recipe-builder.ts'
import { createRuntimeLayers } from '../../src/builders/recipe/runtime-layer-store.ts'
import type { RuntimeLayerRequest } from '../../src/builders/runtime-layers.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { Digest, EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { createSandbox } from '../../src/sandbox/create-sandbox.ts'
import type { Sandbox } from '../../src/sandbox/sandbox.ts'
import { APPS, instanceSpec, LABELS, processHarness, taskSpec } from '../support/runtime-harness.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'

const ID = 'sen_1' as ServiceEnvironmentId
const TOOL = 'mkdir -p .local/bin && printf "#!/bin/sh\\necho hello from $HOME\\n" > .local/bin/hello && chmod 755 .local/bin/hello'

describe.each(['auto', 'none'] as const)('runtime layers with sandbox %s', (kind) => {
  /** `of`: the sandbox of the runtime that uses the layers, as in a server; an own one where none does. */
  async function fixture(of: Sandbox | null = null) {
    const root = temporaryDirectory()
    // Projects' users must be able to pass, as in a data directory.
    chmodSync(root, 0o711)
    const sandbox = of ?? (await createSandbox({ stateDirectory: join(root, 'sandbox'), logger: silentLogger, kind }))
    const limits = buildLimits({ diskBytes: 20 * 1024 ** 2 })
    const open = () => createRuntimeLayers({ directory: join(root, 'layers'), sandbox, limits })
    const lines: string[] = []
    const files = (content: string) => {
      const directory = join(root, `files-${content}`)
      mkdirSync(directory, { recursive: true })
      writeFileSync(join(directory, 'list'), content)
      return { digest: `sha256:${content}` as Digest, directory }
    }
    const request = (
      change: Partial<Omit<RuntimeLayerRequest, 'config'>> & { config?: Partial<RuntimeLayerRequest['config']> } = {},
    ): RuntimeLayerRequest => ({
      key: 'dep_1',
      projectId: 'prj_1' as ProjectId,
      environmentId: 'env_1' as EnvironmentId,
      serviceEnvironmentId: ID,
      home: '/home/shiplock',
      treeDirectory: root,
      files: null,
      cacheDirectory: join(root, 'cache'),
      env: {},
      timeoutMs: 30_000,
      onLine: (line) => lines.push(line),
      signal: new AbortController().signal,
      ...change,
      config: { os: null, base: null, prepareCommands: ['date +%s%N > made'], ...change.config },
    })
    return { root, sandbox, layers: open(), open, lines, files, request }
  }

  test('the key changes exactly when os, base, commands, files, home or a named variable do', async () => {
    const { layers, files, request } = await fixture()
    const base = { files: files('a'), env: { USED: '1', OTHER: '1' }, config: { prepareCommands: ['echo $USED > x'] } }
    const first = await layers.prepare(request(base))
    expect(first).toMatchObject({ isReused: false, reason: 'nothing was prepared yet' })
    for (const same of [{}, { key: 'dep_2' }, { timeoutMs: 5000 }, { env: { USED: '1', OTHER: '2' } }]) {
      expect(await layers.prepare(request({ ...base, ...same }))).toMatchObject({ id: first.id, isReused: true })
    }
    const others = [
      { files: files('b') },
      { files: null },
      { home: '/home/zerops' },
      { env: { USED: '2' } },
      { config: { prepareCommands: ['echo $USED > x', 'true'] } },
      { config: { prepareCommands: ['echo $USED > x'], os: 'debian' } },
      { config: { prepareCommands: ['echo $USED > x'], base: 'static' } },
    ]
    const ids = [first.id]
    for (const other of others) ids.push((await layers.prepare(request({ ...base, ...other }))).id)
    expect(new Set(ids).size).toBe(ids.length)
    expect((await layers.list()).map((layer) => layer.id).sort()).toEqual(ids.sort())
  })

  test('what is made is whole, sealed and without a trace of its sandbox', async () => {
    const { layers, sandbox, files, request } = await fixture()
    const { id } = await layers.prepare(
      request({ files: files('a'), config: { prepareCommands: ['cp list copy; mkfifo pipe; chmod u+s copy'] } }),
    )
    const found = await layers.find(ID, id)
    const directory = found?.directory ?? ''
    expect(
      readdirSync(directory)
        .filter((name) => !name.startsWith('.'))
        .sort(),
    ).toEqual(['copy', 'list'])
    expect(statSync(join(directory, 'copy')).uid).toBe(process.getuid?.())
    if (process.getuid?.() === 0) expect(statSync(join(directory, 'copy')).mode & 0o4000).toBe(0)
    expect(await sandbox.list()).toEqual([])
    expect(await layers.find('sen_2' as ServiceEnvironmentId, id)).toBeNull()
  })

  test('invalidated: made anew, while releases still find the one they name', async () => {
    const { layers, open, request } = await fixture()
    const first = await layers.prepare(request())
    expect(await layers.invalidate(ID)).toBe(1)
    const second = await open().prepare(request())
    expect(second).toMatchObject({ isReused: false, reason: 'it was invalidated' })
    expect(second.id).not.toBe(first.id)
    expect(await layers.find(ID, first.id)).not.toBeNull()
    expect(await layers.prepare(request())).toMatchObject({ id: second.id, isReused: true })
    await layers.remove(ID, first.id)
    await layers.remove(ID, first.id)
    expect(await layers.find(ID, first.id)).toBeNull()
    await expect(layers.remove(ID, '../../etc')).rejects.toMatchObject({ code: 'INTERNAL' })
  })

  test('I5: half a layer is never found, and gone with the next preparation', async () => {
    const { root, layers, request } = await fixture()
    const { id } = await layers.prepare(request())
    const half = join(root, 'layers', ID, `${'0'.repeat(64)}.abc`, 'home')
    mkdirSync(half, { recursive: true })
    expect((await layers.list()).map((layer) => layer.id)).toEqual([id])
    expect(await layers.find(ID, `${'0'.repeat(64)}.abc`)).toBeNull()
    await layers.prepare(request({ config: { prepareCommands: ['true'] } }))
    expect(existsSync(half)).toBe(false)
  })

  test('a base that instances can’t have is refused; time, disk and cancel bound the commands', async () => {
    const { layers, root, request } = await fixture()
    await expect(layers.checkBase(request({ config: { base: 'nodejs@6' } }))).rejects.toMatchObject({
      code: 'BASE_UNAVAILABLE',
      message: expect.stringMatching(/^run\.base "nodejs@6"/),
    })
    const failing = (command: string, more: Partial<RuntimeLayerRequest> = {}) =>
      layers.prepare(request({ ...more, config: { prepareCommands: [command] } }))
    await expect(failing('sleep 60', { timeoutMs: 300 })).rejects.toMatchObject({ code: 'DEPLOYMENT_TIMEOUT' })
    await expect(failing('head -c 60000000 /dev/zero > big; sleep 60')).rejects.toMatchObject({
      code: 'DISK_FULL',
      message: expect.stringContaining('its limit is 20 MiB'),
    })
    await expect(failing('exit 7')).rejects.toMatchObject({
      code: 'BUILD_FAILED',
      message: expect.stringMatching(/^run\.prepareCommands\[0\] `exit 7` failed \(exit 7/),
    })
    const abort = new AbortController()
    const canceled = failing('sleep 60', { signal: abort.signal })
    abort.abort(new Error('canceled by ada'))
    await expect(canceled).rejects.toThrow('canceled by ada')
    expect(readdirSync(join(root, 'layers', ID))).toEqual([])
  })

  test('instances, tasks and commands beside them have the layer as their home; what one writes is its own', async () => {
    const harness = await processHarness({ kind, cgroups: true })
    onTestFinished(async () => void (await harness.close()))
    const { layers, request } = await fixture(harness.sandbox)
    const labels = { ...LABELS, environmentId: 'env_1' as EnvironmentId }
    const { id } = await layers.prepare(request({ projectId: labels.projectId, config: { prepareCommands: [TOOL] } }))
    const layer = await layers.find(ID, id)
    const { runtime } = harness
    const support = { layer, toolDirectories: [] }
    const greeting = /^hello from (\/home\/shiplock|.*\/layers\/sen_1\/.*\/home)$/
    const lines: string[] = []
    const task = await runtime.runTask(
      taskSpec({ labels, command: 'hello', support }),
      (line) => lines.push(line),
      1,
      new AbortController().signal,
    )
    expect([task.exitCode, lines.join()]).toEqual([0, expect.stringMatching(greeting)])
    const specs = [1, 2].map(() =>
      instanceSpec({ labels, artifactDirectory: APPS, support, initCommands: ['hello', 'touch ~/mine 2>/dev/null || true'] }),
    )
    for (const spec of specs) expect((await runtime.start(spec, 1, new AbortController().signal)).state).toBe('running')
    for (const { id: instance } of specs) {
      const beside = await runtime.exec(instance, 'hello', { timeoutMs: 10_000, signal: new AbortController().signal })
      expect([beside.exitCode, beside.output.trim()]).toEqual([0, expect.stringMatching(greeting)])
    }
    if (harness.sandbox?.description.filesystem === true) {
      const [spec] = specs
      const beside = await runtime.exec(spec?.id ?? ('' as never), 'ls ~/mine && echo again >> ~/mine', {
        timeoutMs: 10_000,
        signal: new AbortController().signal,
      })
      expect(beside.exitCode).toBe(0)
      expect(existsSync(join(layer?.directory ?? '', 'mine'))).toBe(false)
    }
    expect(readFileSync(join(layer?.directory ?? '', '.local/bin/hello'), 'utf8')).toContain('hello from')
  })
})
