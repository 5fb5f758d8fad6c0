import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Builder, BuildOutput, BuildRequest } from '../../src/builders/builder.ts'
import { createDockerfileBuilder } from '../../src/builders/dockerfile/dockerfile-builder.ts'
import { parseEngineAddress } from '../../src/container-engine/engine-address.ts'
import { createContainerEngine } from '../../src/container-engine/http-engine.ts'
import type { MemoryDirectory } from '../../src/core/memory-directory.ts'
import { allPids } from '../../src/core/process-identity.ts'
import type { EnvironmentId, ProjectId, ServiceEnvironmentId } from '../../src/domain/ids.ts'
import type { DockerfileBuild } from '../../src/domain/service-config.ts'
import { importBaseImage } from '../support/base-images.ts'
import { filesWith } from '../support/canary.ts'
import { createClassicBuilder } from '../support/classic-engine.ts'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'
import { type TreeFiles, writeFiles } from '../support/git-repo.ts'
import { memoryOf } from '../support/memory-directories.ts'
import { temporaryDirectory } from '../support/temporary-directory.ts'
import { SYSTEM_PATH } from '../support/test-network.ts'

const EMPTY: DockerfileBuild = {
  kind: 'dockerfile',
  dockerfile: 'Dockerfile',
  context: '.',
  target: null,
  args: {},
  secrets: [],
  platform: null,
  timeoutMs: 120_000,
}
const BUSYBOX = 'FROM shiplock-test/busybox:1\n'

type ImageArtifact = Extract<BuildOutput, { kind: 'image' }>['artifact']

interface Built {
  readonly artifact: ImageArtifact | null
  readonly log: string
  readonly error: (Error & { readonly code?: string; readonly hint?: string }) | null
  readonly request: BuildRequest
}

const missing = dockerdMissing()

describe.skipIf(missing !== null)(`the Dockerfile builder${missing === null ? '' : ` (${missing})`}`, () => {
  let dockerd: TestDockerd
  let usual: Builder
  let memory: MemoryDirectory
  let count = 0
  const home = mkdtempSync(join(tmpdir(), 'shiplock-memory-'))
  afterAll(() => rmSync(home, { recursive: true }))
  beforeAll(async () => {
    dockerd = await sharedDockerd()
    memory = await memoryOf(home)
    usual = builderOf()
    await importBaseImage(dockerd, 'busybox')
  })

  function builderOf(searchPath = SYSTEM_PATH) {
    const address = parseEngineAddress(dockerd.host)
    if ('problem' in address) throw new Error(address.problem)
    return createDockerfileBuilder({ engine: createContainerEngine({ address }), owner: 'test', memory, searchPath })
  }

  function requestOf(files: TreeFiles, config: Partial<DockerfileBuild> = {}, more: Partial<BuildRequest> = {}): BuildRequest {
    const root = temporaryDirectory()
    const sourceDirectory = join(root, 'source')
    mkdirSync(sourceDirectory)
    writeFiles(sourceDirectory, files)
    return {
      key: `dep_${process.pid}_${count++}`,
      projectId: 'prj_1' as ProjectId,
      environmentId: 'env_1' as EnvironmentId,
      serviceEnvironmentId: 'sen_1' as ServiceEnvironmentId,
      names: { project: 'main', environment: 'production', service: 'app' },
      config: { ...EMPTY, ...config },
      sourceDirectory,
      workDirectory: join(root, 'work'),
      cacheDirectory: join(root, 'cache'),
      env: {},
      startCommands: [],
      timeoutMs: 120_000,
      onLine: () => {},
      signal: new AbortController().signal,
      ...more,
    }
  }

  async function build(
    files: TreeFiles,
    config: Partial<DockerfileBuild> = {},
    more: Partial<BuildRequest> = {},
    builder = usual,
  ): Promise<Built> {
    const lines: string[] = []
    const request = requestOf(files, config, {
      ...more,
      onLine: (line, kind) => {
        lines.push(`${kind}: ${line}`)
        more.onLine?.(line, kind)
      },
    })
    const answer = { log: '', error: null, artifact: null, request }
    try {
      const output = await builder.build(request)
      return { ...answer, artifact: output.kind === 'image' ? output.artifact : null, log: lines.join('\n') }
    } catch (error) {
      return { ...answer, error: error as Error, log: lines.join('\n') }
    }
  }

  test('a Dockerfile becomes an image, named by its id, with what it starts and listens on', async () => {
    const { artifact, log, error, request } = await build({
      Dockerfile: `${BUSYBOX}COPY app /app\nRUN echo hello-$((40+2)) > /made\nEXPOSE 3000\nENTRYPOINT ["cat"]\nCMD ["/made"]\n`,
      app: 'x',
    })
    expect(error).toBeNull()
    expect(artifact).toMatchObject({ command: ['cat', '/made'], exposedPorts: [3000], reference: `shiplock/main/app:${request.key}` })
    expect(artifact?.digest).toMatch(/^sha256:[0-9a-f]{64}$/)
    expect(await dockerd.dockerText('run', '--rm', artifact?.digest ?? '')).toBe('hello-42')
    expect(await dockerd.dockerText('image', 'inspect', '-f', '{{.Id}}', artifact?.reference ?? '')).toBe(artifact?.digest)
    const labels = JSON.parse(await dockerd.dockerText('image', 'inspect', '-f', '{{json .Config.Labels}}', artifact?.digest ?? ''))
    expect(labels).toMatchObject({ 'shiplock.owner': 'test', 'shiplock.project': 'prj_1', 'shiplock.deployment': request.key })
    expect(log).toMatch(/engine: BuildKit/)
    expect(log).toMatch(/command: \$ \[3\/3\] RUN echo hello/)
    expect(log).toMatch(/engine: → done in \d/)
    expect(await usual.isKept?.(artifact as ImageArtifact)).toBe(true)
  })

  test('the second build of the same says what came from the cache', async () => {
    const files = { Dockerfile: `${BUSYBOX}RUN echo once > /x\nCMD ["true"]\n` }
    await build(files)
    const { log } = await build(files)
    expect(log).toMatch(/RUN echo once > \/x → cached/)
    expect(log).toMatch(/built in .*: 2 steps, \d from the cache/)
  })

  test('I8: a secret is there in the step that asks for it and nowhere else', async () => {
    const workDirectory = join(temporaryDirectory(), 'work')
    const onDisk: string[] = []
    const onLine = () => void onDisk.push(...filesWith(['sup3r-s3cret'], [workDirectory]))
    const { artifact, log, error } = await build(
      {
        Dockerfile: `${BUSYBOX}RUN --mount=type=secret,id=TOKEN test "$(wc -c < /run/secrets/TOKEN)" = 22\nRUN ! test -s /run/secrets/TOKEN\nCMD ["true"]\n`,
      },
      { secrets: ['TOKEN'] },
      { env: { TOKEN: 'sup3r-s3cret-t0ken-42!', OTHER: 'not-passed-on' }, workDirectory, onLine },
    )
    expect(error).toBeNull()
    expect(log).not.toContain('sup3r-s3cret')
    const history = await dockerd.dockerText('history', '--no-trunc', artifact?.digest ?? '')
    expect(history).not.toContain('sup3r-s3cret')
    const saved = await dockerd.dockerText(
      'run',
      '--rm',
      artifact?.digest ?? '',
      'sh',
      '-c',
      'grep -r sup3r-s3cret /etc /run /tmp /var /root; env',
    )
    expect(saved).not.toContain('sup3r')
    expect(saved).not.toContain('not-passed-on')
    expect(onDisk).toEqual([])
    expect(existsSync(memory.path)).toBe(false)
  })

  test('a secret that nobody has set is named before anything is built', async () => {
    const { error, log } = await build({ Dockerfile: BUSYBOX }, { secrets: ['TOKEN'] })
    expect(error).toMatchObject({ code: 'VARIABLE_UNRESOLVED', message: expect.stringContaining('"TOKEN"') })
    expect(log).not.toContain('$')
  })

  test('arguments, target and a Dockerfile elsewhere in a monorepo are honoured', async () => {
    const { artifact, error } = await build(
      {
        'apps/api/Dockerfile': `ARG WHO=nobody\n${BUSYBOX.trim()} AS first\nARG WHO\nCOPY libs/shared /shared\nRUN echo "$WHO" > /who\nCMD ["cat", "/who", "/shared"]\nFROM first AS second\nRUN false\n`,
        'libs/shared': 'from the library\n',
      },
      { dockerfile: 'apps/api/Dockerfile', target: 'first', args: { WHO: 'the $USER "of" it' } },
    )
    expect(error).toBeNull()
    expect(await dockerd.dockerText('run', '--rm', artifact?.digest ?? '')).toBe('the $USER "of" it\nfrom the library')
  })

  test('.dockerignore keeps files out of the image', async () => {
    const { artifact } = await build({
      Dockerfile: `${BUSYBOX}COPY . /app\nCMD ["find", "/app", "-type", "f"]\n`,
      '.dockerignore': 'secret.env\nnode_modules\n',
      'secret.env': 'X=1',
      'node_modules/big': 'x',
      kept: 'x',
    })
    const files = await dockerd.dockerText('run', '--rm', artifact?.digest ?? '')
    expect(files).toContain('/app/kept')
    expect(files).not.toMatch(/secret\.env|node_modules/)
  })

  test('a step that fails is named, with its output, its exit code and the likely cause', async () => {
    const { error, log } = await build({ Dockerfile: `${BUSYBOX}RUN echo before && nosuchprogram --flag\nCMD ["true"]\n` })
    expect(error).toMatchObject({
      code: 'BUILD_FAILED',
      message: expect.stringMatching(/^\[2\/2\] RUN echo before .* failed after .*: the command nosuchprogram is not in the image$/),
      // Two streams: the engine may read one before the other.
      details: { logTail: expect.arrayContaining(['before', '/bin/sh: nosuchprogram: not found']) },
    })
    expect(log).toContain('build: before')
  })

  test.for([
    [
      'a base image that is not there',
      'FROM nowhere.invalid/x:1\n',
      /line 1 of the Dockerfile: the registry nowhere\.invalid can’t be reached/,
    ],
    ['a line that is no instruction', `${BUSYBOX}RUNN x\n`, /Dockerfile can’t be read at line 2: unknown instruction: RUNN/i],
    ['a file that is not in the context', `${BUSYBOX}COPY missing.txt /x\n`, /\/missing\.txt is not in the build context/],
    ['an empty Dockerfile', '\n', /failed/],
  ] as const)('%s is told as such', async ([, dockerfile, expected]) => {
    const { error } = await build({ Dockerfile: dockerfile })
    expect(error).toMatchObject({ code: 'BUILD_FAILED', message: expect.stringMatching(expected) })
  })

  test('an image without command is refused after its build, unless the configuration has one', async () => {
    const bare = { Dockerfile: 'FROM scratch\nCOPY x /x\n', x: '1' }
    expect((await build(bare)).error).toMatchObject({
      code: 'START_COMMAND_MISSING',
      message: 'the image has neither CMD nor ENTRYPOINT, and the configuration has no run.start',
    })
    expect((await build(bare, {}, { startCommands: ['/x'] })).error).toBeNull()
  })

  test('I9: a Dockerfile or context outside of the source is refused, links included', async () => {
    for (const dockerfile of ['../Dockerfile', '/etc/passwd', 'a/../../x']) {
      const { error } = await build({ Dockerfile: BUSYBOX }, { dockerfile })
      expect(error, dockerfile).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(/^build\.dockerfile: /) })
    }
    const request = requestOf({ Dockerfile: BUSYBOX })
    symlinkSync('/etc', join(request.sourceDirectory, 'etc'))
    symlinkSync('/etc/passwd', join(request.sourceDirectory, 'Linked'))
    const with_ = (config: Partial<DockerfileBuild>) => usual.build({ ...request, config: { ...EMPTY, ...config } })
    await expect(with_({ context: 'etc' })).rejects.toMatchObject({ code: 'CONFIG_INVALID', message: /leads out of the source/ })
    await expect(with_({ dockerfile: 'Linked' })).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    symlinkSync('/etc/passwd', join(request.sourceDirectory, '.dockerignore'))
    await expect(with_({})).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  test('equal content has an equal build key; content, arguments, target and platform change it', async () => {
    const builder = usual
    const files = { Dockerfile: BUSYBOX, a: '1' }
    const key = async (more: TreeFiles = {}, config: Partial<DockerfileBuild> = {}) =>
      builder.buildKey(requestOf({ ...files, ...more }, config))
    const first = await key()
    expect(await key()).toBe(first)
    const others = [
      await key({ a: '2' }),
      await key({}, { args: { A: '1' } }),
      await key({}, { target: 'x' }),
      await key({}, { platform: 'linux/arm64' }),
    ]
    expect(new Set([first, ...others]).size).toBe(5)
  })

  test('a build that hangs is ended at its time-out, and nothing of it runs on', async () => {
    const { error, request } = await build({ Dockerfile: `${BUSYBOX}RUN echo begin && sleep 987651\n` }, { timeoutMs: 3000 })
    expect(error).toMatchObject({ code: 'DEPLOYMENT_TIMEOUT' })
    await eventually(() => expect(commandsWith('987651')).toEqual([]))
    expect(existsSync(join(request.workDirectory, 'docker-build'))).toBe(false)
  })

  test('cancel ends the build in the engine too', async () => {
    const abort = new AbortController()
    const reason = new Error('canceled by the test')
    const building = build({ Dockerfile: `${BUSYBOX}RUN echo begun && sleep 987652\n` }, {}, { signal: abort.signal })
    await eventually(() => expect(commandsWith('987652').length).toBeGreaterThan(0), { withinMs: 30_000 })
    abort.abort(reason)
    expect((await building).error).toBe(reason)
    await eventually(() => expect(commandsWith('987652')).toEqual([]), { withinMs: 20_000 })
  })

  test('I5: what a killed server left of a build is ended by the next one', async () => {
    const builder = builderOf()
    const request = requestOf({ Dockerfile: `${BUSYBOX}RUN echo begun && sleep 987653\n` })
    const cut = builder.build(request).catch((error: unknown) => error)
    await eventually(() => expect(commandsWith('987653').length).toBeGreaterThan(0), { withinMs: 30_000 })
    await builderOf().cleanUp(request)
    await eventually(() => expect(commandsWith('987653')).toEqual([]), { withinMs: 20_000 })
    expect(await cut).toBeInstanceOf(Error)
    await builderOf().cleanUp(request)
  })

  test('where there is no BuildKit the classic builder does it, and the log says so', async () => {
    const builder = createClassicBuilder(dockerd, memory)
    const { artifact, log, error } = await build({ Dockerfile: `${BUSYBOX}RUN echo classic > /x\nCMD ["cat", "/x"]\n` }, {}, {}, builder)
    expect(error).toBeNull()
    expect(log).toMatch(/engine: classic builder \(docker .*\): this engine has no BuildKit/)
    expect(log).toMatch(/command: \$ \[2\/9\] RUN echo classic/)
    expect(await dockerd.dockerText('run', '--rm', artifact?.digest ?? '')).toBe('classic')
    const failed = await build({ Dockerfile: `${BUSYBOX}RUN echo oops && exit 7\n` }, {}, {}, builder)
    expect(failed.error).toMatchObject({
      code: 'BUILD_FAILED',
      message: expect.stringMatching(/^\[2\/8\] RUN echo oops .*returned a non-zero code: 7$/),
    })
    const secret = await build({ Dockerfile: BUSYBOX }, { secrets: ['A'] }, { env: { A: '1' } }, builder)
    expect(secret.error).toMatchObject({ code: 'BUILD_FAILED', message: expect.stringContaining('need BuildKit') })
  })
})

/** Command lines of processes, whatever container they run in. */
function commandsWith(text: string): readonly string[] {
  return allPids().flatMap((pid) => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')
      return command.includes(text) && command.startsWith('sleep') ? [command] : []
    } catch {
      return []
    }
  })
}
