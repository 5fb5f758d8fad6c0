import { existsSync, readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RouteSpec } from '../../src/contract/route.ts'
import { ROUTES } from '../../src/contract/routes.ts'
import { rawTarGz } from '../support/archives.ts'
import { eventually } from '../support/eventually.ts'
import { COMMANDS, filled, reachOf } from '../support/hostile-commands.ts'
import { HostileWorld, Watch } from '../support/hostile-world.ts'

/**
 * A developer of one project who does what harm he can, by the API, by what he uploads, in builds and from within his app: the others are as they
 * were, in rows, routes, files and answers; they were served all the time, and he has seen nothing of theirs (I10, I13).
 */
let world: HostileWorld

beforeAll(async () => {
  // Small bounds, so that meeting them takes seconds.
  world = await HostileWorld.begin({ SHIPLOCK_INSTANCE_DISK_MB: '64', BUILD_TIMEOUT: '60s' })
  const { deployment } = await world.deploy('evil', await world.appTree('evil', { memoryMb: 192 }))
  expect(deployment?.error ?? null).toBeNull()
})
afterAll(() => world?.end())

beforeEach(async () => {
  const watch = await Watch.begin(world)
  return () => watch.end()
})

describe('by the API', () => {
  /** Names of beta in every place of a route. */
  const VALUES: Readonly<Record<string, string>> = {
    project: 'beta',
    environment: 'staging',
    service: 'shop',
    member: 'mara',
    name: 'PASSWORD',
    number: '1',
    release: '1',
    host: 'git.example.com',
    confirm: 'beta',
  }

  test('I10: every route with the names and ids of another project gives nothing away', async () => {
    const ids = await world.database.query<{ id: string }>(
      `select id from (select id, project_id from deployments union all select id, project_id from webhooks union all select id, project_id from tokens
                       union all select id, project_id from notification_targets union all select d.id, w.project_id from webhook_deliveries d join webhooks w on w.id = d.webhook_id) t
        where project_id = (select id from projects where name = 'beta')`,
    )
    for (const [operation, spec] of Object.entries<RouteSpec>(ROUTES)) {
      if (spec.isPublic === true) continue
      const forRow = spec.path.includes('{id}') ? ids.map(({ id }) => id) : ['']
      for (const id of forRow) {
        const path = spec.path.replaceAll(/\{(\w+)\}/g, (_, key: string) =>
          key === 'id' || key === 'delivery' ? id : (VALUES[key] ?? 'x'),
        )
        const body =
          spec.body === undefined ? undefined : { project: 'beta', environment: 'staging', service: 'shop', name: 'mara', member: 'mara' }
        const { status, text } = await world.send(spec.method.toUpperCase(), `${path}?project=beta`, body, {
          signal: AbortSignal.timeout(20_000),
        })
        expect(status, `${operation} ${path}: ${text}`).toBeLessThan(500)
        expect(status, `${operation} ${path}: ${text}`).toBeGreaterThanOrEqual(400)
        expect(world.seenIn(text), operation).toEqual([])
      }
    }
  })

  test('I13: storms of requests, streams, uploads and deployments are his own', async () => {
    const gone = new AbortController()
    const streams = Array.from({ length: 150 }, () =>
      fetch(`${world.server.apiUrl}/v1/events`, {
        headers: { authorization: `Bearer ${world.eve}`, accept: 'text/event-stream' },
        signal: gone.signal,
      }).catch(() => null),
    )
    const uploads = Array.from({ length: 40 }, () => unfinishedUpload())
    await Promise.all(Array.from({ length: 200 }, () => world.send('GET', '/v1/services?project=alpha')))
    const archive = await world.appTree('evil')
    const uploaded = await world.send('POST', '/v1/uploads?project=alpha', archive)
    expect(uploaded.status).toBe(201)
    const source = { kind: 'upload', digest: JSON.parse(uploaded.text).digest }
    const queued = await Promise.all(
      Array.from({ length: 60 }, () => world.send('POST', '/v1/deployments', { project: 'alpha', service: 'evil', source })),
    )
    const ids = queued.filter(({ status }) => status === 202).map(({ text }) => JSON.parse(text).id as string)
    expect(ids.length).toBeGreaterThan(0)
    for (const id of ids) await world.send('POST', `/v1/deployments/${id}/cancel`)
    for (const socket of uploads) socket.destroy()
    gone.abort()
    await Promise.all(streams)
  })

  /** An upload of which nothing more comes. */
  function unfinishedUpload(): Socket {
    const { hostname, port } = new URL(world.server.apiUrl)
    const socket = connect(Number(port), hostname).on('error', () => {})
    socket.write(
      `POST /v1/uploads?project=alpha HTTP/1.1\r\nHost: ${hostname}:${port}\r\nAuthorization: Bearer ${world.eve}\r\nContent-Type: application/gzip\r\nContent-Length: 100000000\r\n\r\n`,
    )
    socket.write(Buffer.alloc(64 * 1024))
    return socket
  }
})

describe('by what he uploads', () => {
  const CONFIG = (more: string) => `services: { bad: { run: { start: "node -e 0" }, ${more} } }`

  const ARCHIVES: readonly [string, () => Promise<Blob> | Blob][] = [
    [
      'links to the server’s files',
      () => tar([link('index.html', `${world.server.dataDirectory}/admin-token`), link('package.json', '/etc/passwd'), link('d', '/')]),
    ],
    [
      'a way out by a link',
      () => tar([link('out', '/tmp'), { name: 'out/hostile', content: 'x' }, { name: '../../hostile', content: 'x' }]),
    ],
    [
      'devices, pipes, hard links out',
      () =>
        tar([
          { name: 'null', type: '3' },
          { name: 'pipe', type: '6' },
          { name: 'hard', type: '1', linkname: '/etc/passwd' },
        ]),
    ],
    ['600 long names and 4000 rules that fit none', () => ignoreBomb()],
    ['an alias bomb', () => world.tree({ 'shiplock.yaml': aliasBomb() })],
    ['a configuration that nests without end', () => world.tree({ 'shiplock.yaml': `services: ${'['.repeat(50_000)}` })],
    [
      'patterns made to stop a matcher',
      () => world.tree({ 'shiplock.yaml': CONFIG(`trigger: { watch: ["${'*a'.repeat(500)}b", "${'{a,'.repeat(200)}"] }`) }),
    ],
    [
      'names that mean something to a program',
      () => world.tree({ 'shiplock.yaml': '{"services": {"__proto__": {"run": {"start": "x"}}, "constructor": {}}}' }),
    ],
    [
      'host paths in every place',
      () => world.tree({ 'shiplock.yaml': CONFIG('build: { deployFiles: ["/etc", "../.."], cache: ["/root", "../../.."] }') }),
    ],
    [
      'a repository that names others',
      () =>
        world.tree({
          '.gitmodules': '[submodule "x"]\n path = x\n url = file:///etc\n',
          'package.json': '{"dependencies":{"x":"file:///etc"}}',
        }),
    ],
  ]
  const link = (name: string, linkname: string) => ({ name, type: '2', linkname })
  const tar = (entries: Parameters<typeof rawTarGz>[0]) => new Blob([new Uint8Array(rawTarGz(entries))])
  const ignoreBomb = () =>
    world.tree({
      'index.html': 'x',
      '.deployignore': Array.from({ length: 4000 }, () => `*${'a'.repeat(120)}b`).join('\n'),
      ...Object.fromEntries(Array.from({ length: 600 }, (_, index) => [`${'a'.repeat(240)}${index}`, ''])),
    })
  const aliasBomb = () =>
    ['a: &a0 [x, x]', ...Array.from({ length: 40 }, (_, n) => `b${n}: &a${n + 1} [*a${n}, *a${n}]`), 'services: *a40'].join('\n')

  test.each(ARCHIVES)('I9, I13: %s', async (_name, archive) => {
    const { replies, deployment } = await world.deploy('bad', await archive())
    for (const { status, text } of replies) {
      expect(status, text).toBeLessThan(500)
      expect(world.seenIn(text)).toEqual([])
    }
    if (deployment !== null) {
      expect(world.seenIn(JSON.stringify(deployment)), 'in what the API says').toEqual([])
      expect(world.seenIn(await world.logOf(deployment)), 'in its log').toEqual([])
    }
    expect(existsSync('/tmp/hostile')).toBe(false)
    const served = await world.server.ask('bad-alpha', '/').catch(() => ({ body: '' }))
    expect(world.seenIn(served.body), 'in what it serves').toEqual([])
  })
})

describe('from within his app', () => {
  test.each(COMMANDS)('I10, I13: to %s', async (_name, command) => {
    const said = await world.inside(filled(command, world))
    expect(said).toMatch(/ended with|socket hang up|ECONNRESET|502/)
    expect(world.seenIn(said)).toEqual([])
    expect(said).not.toMatch(/REACHED/)
    expect(said).not.toMatch(/^uid=0\(root\)/m)
  })

  test('I15: the API, the database and the instances of others are out of his reach', async () => {
    const { hostname, port } = new URL(world.server.apiUrl)
    const said = await world.inside(
      await reachOf(world, [
        { host: hostname, port: Number(port) },
        { host: '127.0.0.1', port: world.server.edgePort },
      ]),
    )
    expect(said).toContain('ended with 0')
    expect(said).not.toMatch(/^REACHED/m)
  })

  test('I13: a fork bomb, all memory and a flood of output are his own', async () => {
    await world.inside('(f() { f | f & }; f) >/dev/null 2>&1 & sleep 2; echo over')
    await world.inside(`node -e 'const held = []; for (;;) held.push(Buffer.alloc(16777216, 1))'`)
    await world.inside('yes hostile | head -c 60000000 > /proc/1/fd/1; yes hostile | head -c 60000000')
    // Whatever is left of it goes with the instance.
    const { deployment } = await world.deploy('evil', await world.appTree('evil', { env: { AGAIN: '1' } }))
    expect(deployment?.error ?? null).toBeNull()
  })

  test('I13: a full disk is his own', async () => {
    const said = await world.inside('head -c 300000000 /dev/zero > fill; ls -la fill; rm -f fill; echo done')
    expect(said).not.toContain('300000000')
    await eventually(async () => expect(await world.inside('echo back')).toContain('back'), { withinMs: 60_000 })
  })

  test('I13: whatever he answers, the next one’s answer is the next one’s', async () => {
    const raw = (text: string) =>
      `node -e 'require("net").createServer((s) => s.on("error", () => {}).on("data", () => s.write(${JSON.stringify(text)}))).listen(0, "127.0.0.1")' & sleep 0.2; kill $!`
    for (const text of [
      'HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged',
      'HTTP/1.1 103 Early\r\n\r\n'.repeat(50),
    ]) {
      await world.inside(raw(text))
    }
    expect((await world.server.ask('shop-beta', '/')).body).toBe('v1')
  })

  test('I10: nothing of it stands on the host afterwards', () => {
    for (const directory of ['/tmp', '/var/tmp', '/dev/shm', world.server.dataDirectory]) {
      expect(
        readdirSync(directory).filter((name) => name === 'hostile'),
        directory,
      ).toEqual([])
    }
    expect(existsSync(join(world.server.dataDirectory, 'edge/table.json'))).toBe(true)
  })
})

describe('in his builds', () => {
  test('I10, I13: the same commands, and a process that means to stay', async () => {
    // All but the one that would stop its own shell, and with it the build.
    const commands = [
      ...COMMANDS.slice(0, -1).map(([, command]) => `(${filled(command, world)}) 2>&1 || true`),
      await reachOf(world, []),
      'setsid sleep 7531 & true',
    ]
    const archive = await world.appTree('built', {}, { build: { buildCommands: commands, deployFiles: ['./app.mjs', './shiplock.yaml'] } })
    const { deployment } = await world.deploy('built', archive)
    expect(deployment?.error ?? null).toBeNull()
    if (deployment === null) throw new Error('nothing was deployed')
    const log = await world.logOf(deployment)
    expect(log.length).toBeGreaterThan(500)
    expect(world.seenIn(log)).toEqual([])
    expect(log).not.toMatch(/^REACHED/m)
    expect(world.server.processes().filter(({ command }) => command.includes('sleep 7531'))).toEqual([])
  })

  test('I13: a fork bomb ends with its command', async () => {
    const bomb = '(f() { f | f & }; f) >/dev/null 2>&1; sleep 1; exit 3'
    const { deployment } = await world.deploy(
      'built',
      await world.appTree('built', {}, { build: { buildCommands: [bomb], deployFiles: ['./'] } }),
    )
    expect(deployment).toMatchObject({ status: 'failed' })
  })
})
