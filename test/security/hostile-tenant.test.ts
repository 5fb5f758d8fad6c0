import { existsSync, readdirSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { RouteSpec } from '../../src/contract/route.ts'
import { ROUTES } from '../../src/contract/routes.ts'
import { rawTarGz } from '../support/archives.ts'
import { eventually } from '../support/eventually.ts'
import { Bystander, HostileWorld } from '../support/hostile-world.ts'
import type { Outside } from '../support/outside.ts'

/**
 * A developer of one project who does what harm he can, by the API, by what he uploads, in builds and from within his app: the others are as they
 * were, in rows, routes, files and answers; they were served all the time, and he has seen nothing of theirs (I10, I13).
 */
let world: HostileWorld
let bystander: Bystander
let before: Outside
let lives: Readonly<Record<string, string>>

beforeAll(async () => {
  // Small bounds, so that meeting them takes seconds.
  world = await HostileWorld.begin({ SHIPLOCK_INSTANCE_DISK_MB: '64', BUILD_TIMEOUT: '60s' })
  const { deployment } = await world.deploy('evil', await world.appTree('evil', { run: { start: 'node app.mjs', memoryMb: 192 } }))
  expect(deployment?.error ?? null).toBeNull()
})
afterAll(() => world?.end())

beforeEach(async () => {
  await world.untilAtRest()
  before = await world.outside()
  lives = await world.lives()
  bystander = new Bystander(world)
  return async () => {
    await world.untilAtRest()
    await bystander.stop()
    expect(bystander.failures).toEqual([])
    expect(bystander.answers).toBeGreaterThan(0)
    // Minutes where it fails; a busy machine takes its time.
    expect(bystander.longestHealthMs).toBeLessThan(10_000)
    const after = await world.outside()
    expect(
      [...after.rows].filter((row) => !before.rows.has(row)),
      'rows of others that came or changed',
    ).toEqual([])
    expect(
      [...before.rows].filter((row) => !after.rows.has(row)),
      'rows of others that went',
    ).toEqual([])
    expect(after.real).toEqual(before.real)
    expect(await world.lives(), 'processes and events of others').toEqual(lives)
  }
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

/** What a shell of his is told to do, in builds and in the app. DATA = the server's directory, VICTIM = that of an instance of another project. */
const COMMANDS: readonly [string, string][] = [
  ['read the server’s files', 'cat DATA/admin-token DATA/secret-key DATA/edge/probe-token /etc/shadow; ls -laR DATA 2>&1 | head -200'],
  ['read the files of others', 'ls -la VICTIM; cat VICTIM/* VICTIM/*/* VICTIM/*/*/*'],
  [
    'read what processes say of themselves',
    "cat /proc/*/environ /proc/*/cmdline | tr '\\0' '\\n'; cat /proc/*/maps /proc/net/unix | head -500",
  ],
  [
    'walk through the roots of other processes',
    'for p in /proc/[0-9]*; do cat $p/root/DATA/admin-token $p/cwd/private.txt $p/root/etc/shadow; ls $p/fd; done',
  ],
  [
    'search for secrets',
    'find / -xdev -type f \\( -name admin-token -o -name secret-key -o -name "environment*" -o -name private.txt -o -name "*.key" \\) -exec cat {} + | head -c 1000000',
  ],
  [
    'talk to sockets of the server',
    socketsOf(['DATA/edge/control.sock', 'DATA/postgres/run/.s.PGSQL.5432', '/var/run/docker.sock', '/run/docker.sock']),
  ],
  [
    'become somebody else',
    'id; unshare -Urmn id; unshare -m true; chroot / id; mount -t tmpfs x /mnt; mknod /tmp/disk b 8 0; nsenter -t 1 -a id; su -c id; sudo -n id',
  ],
  [
    'change the server’s files',
    'echo x > DATA/hostile; rm -rf DATA/edge DATA/instances VICTIM; touch /tmp/hostile /var/tmp/hostile /dev/shm/hostile',
  ],
  [
    'plant links in his own place',
    'ln -sf DATA/admin-token token; ln -sf / everything; ln DATA/admin-token hard; cp -r /proc/1/root/etc copied; cat token hard',
  ],
  [
    'end everything he can see',
    'for p in /proc/[0-9]*; do n=${p#/proc/}; [ $n -gt 2 ] && [ $n != $$ ] && kill -STOP $n; kill -CONT $n; done 2>/dev/null; kill -9 $(pgrep -f shiplock) $(pgrep -f story-app); true',
  ],
]

function socketsOf(paths: readonly string[]): string {
  const program = `for (const path of ${JSON.stringify(paths)}) require('net').connect(path).on('connect', function () { console.log('REACHED ' + path); this.end() }).on('error', (e) => console.log(path, e.code))`
  return `node -e '${program.replaceAll("'", '"')}'`
}

/** A command that tries the instances of all others, and these places. */
async function reachOf(places: readonly { readonly host: string; readonly port: number }[]): Promise<string> {
  const instances = await world.addresses()
  expect(instances.length).toBeGreaterThan(3)
  const program = `for (const { host, port } of ${JSON.stringify([...places, ...instances])}) require("net").connect({ host, port, timeout: 3000 }).on("connect", function () { console.log("REACHED", host, port); this.destroy() }).on("timeout", function () { this.destroy() }).on("error", (e) => console.log(host, port, e.code))`
  return `node -e '${program}'`
}

const filled = (command: string) =>
  command
    .replaceAll('DATA', world.server.dataDirectory)
    .replaceAll('VICTIM', world.instanceDirectories().find((path) => !path.includes('evil')) ?? '/nowhere')

describe('from within his app', () => {
  test.each(COMMANDS)('I10, I13: to %s', async (_name, command) => {
    const said = await world.inside(filled(command))
    expect(said).toMatch(/ended with|socket hang up|ECONNRESET|502/)
    expect(world.seenIn(said)).toEqual([])
    expect(said).not.toMatch(/REACHED/)
    expect(said).not.toMatch(/^uid=0\(root\)/m)
  })

  test('I15: the API, the database and the instances of others are out of his reach', async () => {
    const { hostname, port } = new URL(world.server.apiUrl)
    const said = await world.inside(
      await reachOf([
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
    const { deployment } = await world.deploy('evil', await world.appTree('evil', { run: { start: 'node app.mjs', env: { AGAIN: '1' } } }))
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
      ...COMMANDS.slice(0, -1).map(([, command]) => `(${filled(command)}) 2>&1 || true`),
      await reachOf([]),
      'setsid sleep 7531 & true',
    ]
    const archive = await world.appTree('built', { build: { buildCommands: commands, deployFiles: ['./app.mjs', './shiplock.yaml'] } })
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
      await world.appTree('built', { build: { buildCommands: [bomb], deployFiles: ['./'] } }),
    )
    expect(deployment).toMatchObject({ status: 'failed' })
  })
})
