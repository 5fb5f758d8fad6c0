import { execFileSync } from 'node:child_process'
import type { AddressInfo } from 'node:net'
import { createServer, type Server } from 'node:net'
import { networkInterfaces } from 'node:os'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { ProjectId } from '../../src/domain/ids.ts'
import type { InstanceSpec, InstanceStatus, Runtime } from '../../src/runtimes/runtime.ts'
import { addressOf, get, never } from '../conformance/runtime-suite.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, LABELS, processHarness, type RuntimeHarness, taskSpec } from '../support/runtime-harness.ts'

/** Says who it is, who asked, and does what a hostile app would try. */
const APP = `node -e "
const h = require('http')
h.createServer((q, s) => s.end(process.env.WHO + ' asked by ' + q.socket.remoteAddress + ' at ' + q.headers.host)).listen(process.env.PORT, process.env.ON)
"`
const labels = (title: string) => ({ ...LABELS, projectId: `prj_${title.split('/')[0]}` as ProjectId, title })
const app = (title: string, more: Partial<InstanceSpec> = {}, on = '127.0.0.1') =>
  instanceSpec({ labels: labels(title), startCommands: [APP], ...more, env: { WHO: title, ON: on } })

/** A service of the host itself, that an app must not reach unless its owner says so. */
async function hostService(address: string): Promise<{ readonly server: Server; readonly port: number }> {
  const server = createServer((socket) => socket.end(`host service for ${socket.remoteAddress}`))
  await new Promise<void>((resolve) => server.listen(0, address, resolve))
  return { server, port: (server.address() as AddressInfo).port }
}

const outside = Object.entries(networkInterfaces())
  .flatMap(([name, entries]) => (name === 'lo' || name.startsWith('sl') ? [] : (entries ?? [])))
  .find((entry) => entry.family === 'IPv4')?.address

let harness: RuntimeHarness
let runtime: Runtime
let named: Awaited<ReturnType<typeof hostService>>
let unnamed: Awaited<ReturnType<typeof hostService>>
beforeAll(async () => {
  named = await hostService('127.0.0.1')
  unnamed = await hostService('0.0.0.0')
  harness = await processHarness({ kind: 'auto', cgroups: true, networks: { hostAccess: new Map([['shop', [named.port]]]) } })
  runtime = harness.runtime
})
afterAll(async () => {
  for (const { server } of [named, unnamed]) server.close()
  expect(await harness?.close()).toEqual([])
})

const started = async (spec: InstanceSpec) => ({ spec, status: await runtime.start(spec, 1, never()) })
const hostOf = (status: InstanceStatus) => addressOf(status).split(':')[0] ?? ''

/** What connecting from inside gives: what was said, or the error's code. */
async function connects({ id }: InstanceSpec, host: string, port: number): Promise<string> {
  const script = `const s = require('net').connect(${port}, '${host}'); s.setTimeout(3000, () => { console.log('TIMEOUT'); process.exit() })
s.on('error', (e) => console.log(e.code)); s.on('connect', () => s.write('GET / HTTP/1.0\\r\\n\\r\\n'))
let all = ''; s.on('data', (d) => { all += d }); s.on('close', () => all && console.log(all.split('\\r\\n\\r\\n').pop()))`
  return (await inside(id, `node -e "${script.replaceAll('\n', ';').replaceAll('"', '\\"')}"`)).trim()
}
const inside = async (id: InstanceSpec['id'], command: string) =>
  (await runtime.exec(id, command, { timeoutMs: 20_000, signal: never() })).output

test('a fixed port works for every instance, deployment and service, each with requests of its own', async () => {
  const specs = ['shop/production/api', 'shop/production/api', 'shop/production/web', 'shop/pr-7/api', 'blog/production/api'].map((title) =>
    app(title, { port: 3000 }),
  )
  const all = await Promise.all(specs.map(started))
  expect(new Set(all.map(({ status }) => addressOf(status))).size).toBe(5)
  expect(all.every(({ status }) => addressOf(status).endsWith(':3000'))).toBe(true)
  for (const { spec, status } of all) expect(await get(status, '/')).toContain(`${spec.labels.title} asked by 127.0.0.1`)
  for (const { spec } of all) await runtime.remove(spec.id, 1)
})

test.each(['127.0.0.1', '0.0.0.0', '::', 'localhost'])('an app that listens on %s is reached', async (on) => {
  const { spec, status } = await started(app('shop/production/api', {}, on))
  expect(await get(status, '/')).toMatch(/asked by (::ffff:)?127\.0\.0\.1/)
  expect(await runtime.diagnose(spec.id)).toEqual([])
  await runtime.remove(spec.id, 1)
})

test('ports below 1024 are free to the instance, and it needs no rights for them', async () => {
  const { spec, status } = await started(app('shop/production/api', { port: 80 }))
  expect(await get(status, '/')).toContain('shop/production/api')
  await runtime.remove(spec.id, 1)
})

test('services of one environment find each other by name; other environments and projects have neither names nor addresses', async () => {
  const db = await started(app('shop/production/db', { port: 5000 }))
  const api = await started(app('shop/production/api'))
  const staging = await started(app('shop/staging/api'))
  const blog = await started(app('blog/production/api'))
  await get(db.status, '/')
  expect(await connects(api.spec, 'db', 5000)).toContain('shop/production/db asked by 10.')
  for (const other of [staging, blog]) {
    expect(await connects(other.spec, 'db', 5000)).toMatch(/^(EAI_AGAIN|ENOTFOUND)$/)
    expect(await connects(other.spec, hostOf(db.status), 5000)).toBe('ECONNREFUSED')
  }
  await runtime.remove(db.spec.id, 1)
  expect(await connects(api.spec, 'db', 5000)).toMatch(/^(EAI_AGAIN|ENOTFOUND)$/)
  for (const { spec } of [api, staging, blog]) await runtime.remove(spec.id, 1)
})

test('I15: nothing of the host is in reach but the port that was named for the project, on its loopback as before', async () => {
  const shop = await started(app('shop/production/api'))
  const blog = await started(app('blog/production/api'))
  expect(await connects(shop.spec, '127.0.0.1', named.port)).toBe('host service for 127.0.0.1')
  expect(await connects(shop.spec, 'host.shiplock.internal', named.port)).toBe('host service for 127.0.0.1')
  expect(await connects(blog.spec, '127.0.0.1', named.port)).toBe('ECONNREFUSED')
  const hostEnd = /(\S+)\s+host\.shiplock\.internal/.exec(await inside(blog.spec.id, 'cat /etc/hosts'))?.[1] ?? ''
  for (const { spec } of [shop, blog]) {
    for (const host of ['127.0.0.1', hostEnd, ...(outside === undefined ? [] : [outside])]) {
      expect({ host, said: await connects(spec, host, unnamed.port) }).toEqual({ host, said: 'ECONNREFUSED' })
    }
  }
  expect(await connects(blog.spec, hostEnd, named.port)).toBe('ECONNREFUSED')
  for (const { spec } of [shop, blog]) await runtime.remove(spec.id, 1)
})

test('link-local addresses, where metadata is, are refused at once', async () => {
  const { spec } = await started(app('shop/production/api'))
  const began = performance.now()
  for (const host of ['169.254.169.254', '169.254.169.253']) expect(await connects(spec, host, 80)).toBe('ECONNREFUSED')
  expect(performance.now() - began).toBeLessThan(10_000)
  await runtime.remove(spec.id, 1)
})

test('there is no IPv6 beyond its own loopback, no raw socket, and no address that is not its own', async () => {
  const { spec } = await started(app('shop/production/api'))
  const interfaces = await inside(spec.id, 'cat /proc/net/if_inet6 2>/dev/null; ls /sys/class/net 2>/dev/null; cat /proc/net/route')
  expect(interfaces).not.toMatch(/^fe80/m)
  const python = `import socket
def attempt(f):
  try:
    f(); print('ALLOWED')
  except OSError as e:
    print('refused')
attempt(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))
attempt(lambda: socket.create_connection(('2001:db8::1', 80), 2))
def spoof():
  s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
  s.setsockopt(socket.SOL_IP, 15, 1)
  s.bind(('10.99.99.99', 0))
  s.sendto(b'x', ('192.0.2.1', 9))
attempt(spoof)
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).setsockopt(socket.SOL_IP, 19, 1))`
  expect((await inside(spec.id, `python3 -c "${python.replaceAll('"', '\\"')}"`)).trim().split('\n')).toEqual(Array(5).fill('refused'))
  await runtime.remove(spec.id, 1)
})

test('release commands have a network of their own too, and reach what was named', async () => {
  const said: string[] = []
  const command = `node -e "require('net').connect(${named.port}, '127.0.0.1').on('data', (d) => console.log(String(d)))
require('net').connect(${unnamed.port}, '127.0.0.1').on('data', (d) => console.log('reached')).on('error', (e) => console.log(e.code))"`
  const spec = taskSpec({ labels: labels('shop/production/api'), command })
  expect(await runtime.runTask(spec, (line) => said.push(line), 1, never())).toMatchObject({ exitCode: 0 })
  expect(said.sort()).toEqual(['ECONNREFUSED', 'host service for 127.0.0.1'])
  await runtime.removeTask(spec.id, 1)
})

test('I5: a new server on the same host finds instance and network as they are; what a crash left without a record goes', async () => {
  const { spec, status } = await started(app('shop/production/api'))
  await get(status, '/')
  // As a server leaves it that is killed between making a namespace and its instance.
  const stray = execFileSync('/bin/sh', ['-c', 'ls /run/netns'], { encoding: 'utf8' })
    .split('\n')
    .find((name) => name.endsWith(spec.id))
    ?.replace(spec.id, 'ins_stray')
  execFileSync('/sbin/ip', ['netns', 'add', stray ?? ''])
  runtime = await harness.reopen()
  expect(await runtime.inspect(spec.id)).toMatchObject({ state: 'running', address: { host: hostOf(status) } })
  expect(await get(status, '/')).toContain('shop/production/api')
  expect(execFileSync('/bin/sh', ['-c', 'ls /run/netns'], { encoding: 'utf8' })).not.toContain('ins_stray')
  await runtime.stop(spec.id, { timeoutMs: 1000 }, 1)
  expect(await runtime.start(spec, 1, never())).toMatchObject({ state: 'running', address: { host: hostOf(status) } })
  expect(await get(status, '/')).toContain('shop/production/api')
  await runtime.remove(spec.id, 1)
})

test('I15: an address whose network is gone leads nowhere, never out of this host', async () => {
  const { spec, status } = await started(app('shop/production/api'))
  await get(status, '/')
  await runtime.stop(spec.id, { timeoutMs: 100 }, 1)
  await eventually(async () => {
    const failure = await fetch(`http://${addressOf(status)}/`).catch((error: Error) => error)
    const { code } = (failure as Error & { cause?: { code?: string } }).cause ?? {}
    expect(['EHOSTUNREACH', 'ECONNREFUSED', 'ENETUNREACH', 'ECONNRESET']).toContain(code)
  })
  await runtime.remove(spec.id, 1)
})
