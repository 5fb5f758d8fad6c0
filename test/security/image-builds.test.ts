import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Builder } from '../../src/builders/builder.ts'
import { LIMITS } from '../../src/core/limits.ts'
import type { MemoryDirectory } from '../../src/core/memory-directory.ts'
import { importBaseImage } from '../support/base-images.ts'
import { REGISTRY_ACCOUNT, startDockerRegistry, type TestRegistry } from '../support/docker-registry.ts'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { buildImage, imageBuilder } from '../support/image-build-fixture.ts'
import { memoryOf } from '../support/memory-directories.ts'

const BASE = 'FROM shiplock-test/busybox:1\n'
const ALPHA = { project: 'alpha' }
const BETA = { project: 'beta' }
const salt = () => randomBytes(6).toString('hex')

/** Two projects on one engine: what one builds with a Dockerfile has nothing of the other. */
describe.skipIf(dockerdMissing() !== null)('image builds see their own project only', () => {
  let dockerd: TestDockerd
  let memory: MemoryDirectory
  const home = mkdtempSync(join(tmpdir(), 'shiplock-memory-'))
  afterAll(() => rmSync(home, { recursive: true }))
  beforeAll(async () => {
    dockerd = await sharedDockerd()
    memory = await memoryOf(home)
    await importBaseImage(dockerd, 'busybox')
  })

  describe('with BuildKit', () => {
    let builder: Builder
    beforeAll(() => {
      builder = imageBuilder(dockerd, 'buildkit', { memory })
    })
    const cached = (mount: string, script: string) => ({
      Dockerfile: `${BASE}RUN --mount=type=cache,${mount} echo ${salt()}; ${script}\nCMD ["true"]\n`,
    })

    test.each([
      ['an id', 'id=npm,target=/cache'],
      ['no id', 'target=/cache'],
      ['an id with a path', 'id=../npm,target=/cache,sharing=locked'],
    ])('I14: a cache mount with %s is of one project and environment', async (_what, mount) => {
      const put = await buildImage(builder, BETA, cached(mount, 'echo beta-private-cache-entry > /cache/beta'))
      expect(put.error).toBeNull()
      const again = await buildImage(builder, BETA, cached(mount, 'cat /cache/*'))
      expect(again.log).toContain('build: beta-private-cache-entry')
      for (const other of [ALPHA, { ...BETA, environment: 'preview-7' }, { ...BETA, environment: 'staging' }]) {
        const taken = await buildImage(builder, other, cached(mount, 'cat /cache/*; echo POISON > /cache/poison'))
        expect(taken.error).toBeNull()
        expect(taken.log).not.toContain('build: beta-private-cache-entry')
      }
      expect((await buildImage(builder, BETA, cached(mount, 'ls /cache'))).log).not.toContain('build: poison')
    })

    test('I14: build.args can not choose another namespace or frontend', async () => {
      for (const name of ['BUILDKIT_CACHE_MOUNT_NS', 'BUILDKIT_SYNTAX']) {
        const { error } = await buildImage(builder, ALPHA, { Dockerfile: BASE }, { args: { [name]: 'x' } })
        expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(name) })
      }
      const { error } = await buildImage(builder, ALPHA, { Dockerfile: `# syntax=evil/frontend:1\n${BASE}` })
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('docker.io/evil/frontend') })
    })

    test('I14: what a step made of a secret is not there for an equal step of another project or environment', async () => {
      const files = {
        Dockerfile: `${BASE}RUN --mount=type=secret,id=T echo ${salt()} $(cat /run/secrets/T) > /made\nRUN cat /made; ls /run/secrets\n`,
      }
      const private_ = await buildImage(builder, { ...BETA, env: { T: 'only-beta-knows' } }, files, { secrets: ['T'] })
      expect(private_.log).toMatch(/build: [0-9a-f]{12} only-beta-knows/)
      for (const other of [ALPHA, { ...BETA, environment: 'preview-7' }]) {
        const { log, error } = await buildImage(builder, { ...other, env: { T: 'other' } }, files, { secrets: ['T'] })
        expect(error).toBeNull()
        expect(log).not.toContain('only-beta-knows')
        expect(log).toMatch(/build: [0-9a-f]{12} other/)
      }
      const same = await buildImage(builder, { ...BETA, env: { T: 'only-beta-knows' } }, files, { secrets: ['T'] })
      expect(same.log).toMatch(/RUN cat \/made.* → cached/)
      expect(same.log).not.toContain('required=false')
    })
  })

  describe.each(['buildkit', 'classic'] as const)('with %s', (mode) => {
    let builder: Builder
    let beta: { readonly tag: string; readonly id: string }
    beforeAll(async () => {
      builder = imageBuilder(dockerd, mode, { memory })
      const built = await buildImage(builder, BETA, { Dockerfile: `${BASE}COPY secret /app-secret.txt\n`, secret: `BETA-${salt()}` })
      beta = { tag: built.artifact?.reference ?? '', id: built.artifact?.digest.slice('sha256:'.length) ?? '' }
      expect(beta.tag).toContain('shiplock/beta/app:')
    })

    test.each<[string, (beta: { tag: string; id: string }) => string]>([
      ['its tag', ({ tag }) => `FROM ${tag}\nRUN cat /app-secret.txt\n`],
      ['its tag in full', ({ tag }) => `FROM docker.io/${tag}\nRUN cat /app-secret.txt\n`],
      ['a variable', ({ tag }) => `ARG X=${tag}\nFROM \${X}\nRUN cat /app-secret.txt\n`],
      ['three digits of its id', ({ id }) => `FROM ${id.slice(0, 3)}\nRUN cat /app-secret.txt\n`],
      ['its id', ({ id }) => `FROM ${id}\nRUN cat /app-secret.txt\n`],
      ['its id as a digest', ({ id }) => `FROM sha256:${id}\nRUN cat /app-secret.txt\n`],
      ['its name and id', ({ tag, id }) => `FROM ${tag.split(':')[0]}@sha256:${id}\nRUN cat /app-secret.txt\n`],
      ['COPY --from', ({ tag }) => `${BASE}COPY --from=${tag} /app-secret.txt /x\nRUN cat /x\n`],
      ['COPY --from and its id', ({ id }) => `${BASE}COPY --from=${id} /app-secret.txt /x\nRUN cat /x\n`],
      ['COPY --from and three digits', ({ id }) => `${BASE}COPY --from=${id.slice(0, 3)} /app-secret.txt /x\nRUN cat /x\n`],
      ['an ONBUILD of its own', ({ tag }) => `${BASE.trim()} AS a\nONBUILD COPY --from=${tag} /app-secret.txt /x\nFROM a\nRUN cat /x\n`],
      ['a here-document that is none', ({ tag }) => `${BASE}RUN <<EOF\nFROM ${tag}\nRUN cat /app-secret.txt\nEOF\n`],
      ['a line end that is read in two ways', ({ tag }) => `${BASE}RUN true \\\\\nFROM ${tag}\nRUN cat /app-secret.txt\n`],
    ])('I10: an image of another project is not there by %s', async (_what, dockerfile) => {
      const { error, log } = await buildImage(builder, ALPHA, { Dockerfile: dockerfile(beta) })
      expect(error).toMatchObject({ code: expect.stringMatching(/^(?:BUILD_FAILED|CONFIG_INVALID)$/) })
      expect(`${log}${error?.message}`).not.toMatch(/BETA-[0-9a-f]{12}/)
      // Refused before the builder had a look.
      expect(log).not.toContain('command:')
    })

    test('I10: nor by a trigger of an image that the project may use', async () => {
      const name = `shiplock-test/trigger:${salt()}`
      const input = `${BASE}ONBUILD COPY --from=${beta.tag} /app-secret.txt /x\n`
      expect((await dockerd.docker(['build', '--tag', name, '-'], { input })).exitCode).toBe(0)
      const { error, log } = await buildImage(builder, ALPHA, { Dockerfile: `FROM ${name}\nRUN cat /x\n` })
      expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('has ONBUILD COPY --from=') })
      expect(log).not.toContain('command:')
    })

    test('the project’s own images are, and layers that servers made for recipes are nobody’s', async () => {
      const { error, log } = await buildImage(builder, BETA, { Dockerfile: `FROM ${beta.tag}\nRUN cat /app-secret.txt\n` })
      expect(error).toBeNull()
      expect(log).toMatch(/build: BETA-[0-9a-f]{12}/)
      const layer = `shiplock-layer:${salt()}`
      const input = `${BASE}LABEL shiplock.owner=test shiplock.kind=layer\n`
      expect((await dockerd.docker(['build', '--tag', layer, '-'], { input })).exitCode).toBe(0)
      expect((await buildImage(builder, ALPHA, { Dockerfile: `FROM ${layer}\n` })).error).toMatchObject({ code: 'BUILD_FAILED' })
    })

    test('stages, scratch, other files and arguments work as ever', async () => {
      const { artifact, error } = await buildImage(
        builder,
        ALPHA,
        {
          Dockerfile: `ARG BASE=shiplock-test/busybox\nFROM \${BASE}:1 AS Build\nARG WHO\nCOPY x /x\nRUN echo "$WHO" \\\n  # a comment\n  >> /x\nFROM build AS more\nRUN echo more >> /x\nFROM shiplock-test/busybox:1\nCOPY --from=0 /x /0\nCOPY --from=more /x /1\nCOPY --chown=1:1 --from=BUILD /x /2\nCMD ["cat", "/0", "/1", "/2"]\n`,
          x: 'x\n',
        },
        { args: { WHO: 'me' } },
      )
      expect(error).toBeNull()
      expect(await dockerd.dockerText('run', '--rm', artifact?.digest ?? '')).toBe('x\nme\nx\nme\nmore\nx\nme')
    })
  })

  test.each(['buildkit', 'classic'] as const)('I9: links in the context lead nowhere on the host, with %s', async (mode) => {
    const outside = join(home, 'outside')
    writeFileSync(outside, 'HOST-FILE')
    const prepare = (directory: string) => {
      symlinkSync(outside, join(directory, 'link'))
      symlinkSync(home, join(directory, 'tree'))
    }
    for (const lines of [
      'COPY . /app\nRUN cat /app/link /app/tree/outside\n',
      'COPY link /x\nRUN cat /x\n',
      'COPY tree/outside /x\nRUN cat /x\n',
      'ADD tree /x\nRUN cat /x/outside\n',
    ]) {
      const { log } = await buildImage(imageBuilder(dockerd, mode, { memory }), ALPHA, { Dockerfile: BASE + lines }, {}, prepare)
      expect(log, lines).not.toContain('HOST-FILE')
    }
  })

  describe('base images of registries', () => {
    let registry: TestRegistry
    let name: string
    let digest: string
    const auths = () =>
      JSON.stringify({ auths: { [registry.host]: { auth: Buffer.from(Object.values(REGISTRY_ACCOUNT).join(':')).toString('base64') } } })
    beforeAll(async () => {
      registry = await startDockerRegistry({ address: dockerd.network.hostAddress, auth: true })
      name = `${registry.host}/beta/base:1`
      await dockerd.dockerText('login', '--username', REGISTRY_ACCOUNT.username, '--password', REGISTRY_ACCOUNT.password, registry.host)
      const input = `${BASE}RUN echo BETA-REGISTRY > /app-secret.txt\nONBUILD RUN echo triggered > /triggered\n`
      expect((await dockerd.docker(['build', '--tag', name, '-'], { input })).exitCode).toBe(0)
      await dockerd.dockerText('push', name)
      await dockerd.dockerText('logout', registry.host)
      digest = (await dockerd.dockerText('image', 'inspect', '-f', '{{index .RepoDigests 0}}', name)).split('@')[1] ?? ''
    })
    afterAll(() => registry.remove())

    test.each(['buildkit', 'classic'] as const)(
      'I10: one that another project may pull is not there because the engine has it, with %s',
      async (mode) => {
        const builder = imageBuilder(dockerd, mode, { memory })
        const read = 'RUN cat /app-secret.txt /triggered\n'
        const owner = { ...BETA, env: { REGISTRY_AUTH: auths() } }
        const own = await buildImage(builder, owner, { Dockerfile: `FROM ${name}\n${read}` })
        expect(own.error).toBeNull()
        expect(own.log).toMatch(/build: BETA-REGISTRY[\s\S]*build: triggered/)
        for (const from of [name, `${name}@${digest}`, `${name.slice(0, -2)}@${digest}`]) {
          const { error, log } = await buildImage(builder, ALPHA, { Dockerfile: `FROM ${from}\n${read}` })
          expect(error).toMatchObject({ code: 'BUILD_FAILED', message: expect.stringContaining('refuses access') })
          expect(log).not.toContain('BETA-REGISTRY')
        }
      },
    )
  })

  describe('what a build takes of the host', () => {
    test.each(['buildkit', 'classic'] as const)('I13: a step that eats memory ends, the host does not, with %s', async (mode) => {
      const builder = imageBuilder(dockerd, mode, { memory, memoryMb: 64, cpus: 1 })
      const eats = `RUN echo ${salt()}; head -c 900m /dev/zero | tail -c 800m | wc -c\n`
      const { error, log } = await buildImage(builder, ALPHA, { Dockerfile: BASE + eats })
      expect(log).toMatch(/limits: 2 min, 64 MiB of memory, 1 cores/)
      expect(log).not.toContain('build: 838860800')
      expect(log).not.toContain('could not be held')
      expect(error ?? log).not.toBeNull()
      const modest = await buildImage(builder, ALPHA, {
        Dockerfile: `${BASE}RUN echo ${salt()}; head -c 20m /dev/zero | tail -c 10m | wc -c\n`,
      })
      expect(modest.error).toBeNull()
      expect(modest.log).toContain('build: 10485760')
      const quota = 'sleep 0.5; cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us /sys/fs/cgroup/cpu.max 2>/dev/null; true'
      const asked = await buildImage(builder, ALPHA, { Dockerfile: `${BASE}RUN echo ${salt()}; ${quota}\n` })
      expect(asked.log).toMatch(/build: 100000/)
    })

    test('I13: a step of BuildKit that forks without end is held to a number of processes', async () => {
      const builder = imageBuilder(dockerd, 'buildkit', { memory, memoryMb: 512 })
      const script = `RUN echo ${salt()}; sleep 0.5; i=0; while [ $i -lt 6000 ]; do i=$((i+1)); sleep 5 & done 2>/dev/null; ls -d /proc/[0-9]* | wc -l\n`
      const { log } = await buildImage(builder, ALPHA, { Dockerfile: BASE + script })
      const count = Number(/build: (\d{2,6})$/m.exec(log)?.[1] ?? 0)
      expect(count).toBeLessThanOrEqual(LIMITS.buildProcesses)
    })
  })

  describe('the network of the host', () => {
    let server: Server
    let url: string
    const asked: string[] = []
    beforeAll(async () => {
      server = createServer((request, response) => {
        asked.push(request.url ?? '')
        response.end('FROM-THE-HOST')
      }).listen(0, dockerd.network.hostAddress)
      await new Promise((resolve) => server.once('listening', resolve))
      url = `http://${dockerd.network.hostAddress}:${(server.address() as AddressInfo).port}`
    })
    afterAll(() => new Promise((resolve) => server.close(resolve)))

    test.each(['buildkit', 'classic'] as const)('I13: ADD fetches nothing in it with %s', async (mode) => {
      const builder = imageBuilder(dockerd, mode, { memory })
      for (const add of [
        `ADD ${url}/a /x`,
        `ADD ["${url}/a", "/x"]`,
        `ARG U=${url}/a\nADD $U /x`,
        `ARG U=${url}/a\nADD ["$U", "/x"]`,
        `ADD "${url}/a" /x`,
        `ARG H=h\nADD \${H}ttp${url.slice(4)}/a /x`,
      ]) {
        const { error, log } = await buildImage(builder, ALPHA, { Dockerfile: `${BASE}${add}\nRUN cat /x\n` })
        expect(error, add).not.toBeNull()
        expect(log).not.toContain('FROM-THE-HOST')
      }
      expect(asked).toEqual([])
    })

    test('the owner of the server may allow it', async () => {
      const builder = imageBuilder(dockerd, 'buildkit', { memory, mayAddUrls: true })
      const { log } = await buildImage(builder, ALPHA, { Dockerfile: `${BASE}ADD ${url}/b /x\nRUN cat /x\n` })
      expect(log).toContain('FROM-THE-HOST')
    })

    test.each(['buildkit', 'classic'] as const)('I13: the owner of the server may close it to RUN steps, with %s', async (mode) => {
      const [host = '', port = ''] = url.replace('http://', '').split(':')
      const ask = `printf 'GET /run HTTP/1.0\\r\\n\\r\\n' | nc -w 5 ${host} ${port} || echo unreachable`
      const run = `RUN ${ask}; echo ${salt()}\n`
      const open = await buildImage(imageBuilder(dockerd, mode, { memory }), ALPHA, { Dockerfile: BASE + run })
      expect(open.log).toContain('build: FROM-THE-HOST')
      const closed = imageBuilder(dockerd, mode, { memory, network: 'none' })
      const { log, error } = await buildImage(closed, ALPHA, { Dockerfile: `${BASE}${run.replace('/run', '/closed')}` })
      expect(error).toBeNull()
      expect(log).toContain('build: unreachable')
      expect(asked).not.toContain('/closed')
    })

    test('I13: RUN gets neither the network of the host nor rights of its own', async () => {
      for (const flag of ['--network=host', '--security=insecure']) {
        const { error } = await buildImage(imageBuilder(dockerd, 'buildkit', { memory }), ALPHA, {
          Dockerfile: `${BASE}RUN ${flag} true\n`,
        })
        expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining(flag) })
      }
    })
  })
})
