import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { LIMITS } from '../../src/core/limits.ts'
import { silentLogger } from '../../src/core/log.ts'
import type { ServiceEnvironmentId } from '../../src/domain/ids.ts'
import { EmbeddedEdge } from '../../src/edge/embedded/embedded-edge.ts'
import { builtFile } from '../support/build.ts'
import { killEdgeApps, startEdgeApp } from '../support/edge-apps.ts'
import { closeEdges, type EdgeFixture, HOST, ROUTE, startEdge, swapTo } from '../support/edge-fixture.ts'
import { EdgeLoad } from '../support/edge-load.ts'
import { exchangeRaw, rawClient, startRawApp, statusOf } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

afterEach(async () => {
  await closeEdges()
  await killEdgeApps()
})

const GET = `GET / HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`

function isRunning(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.[0] !== 'Z'
  } catch {
    return false
  }
}

test('the edge goes on serving when the server process that started it is gone, and is adopted by the next', async () => {
  const { edge, directory, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const { pid } = await edge.status()
  await edge.detach()
  expect(await exchangeRaw(port, GET)).toContain('v1')
  const next = new EmbeddedEdge({ stateDirectory: directory, listen: { host: '127.0.0.1', port }, logger: silentLogger })
  await next.ensureRunning()
  expect((await next.status()).pid).toBe(pid)
  expect(await next.read()).toMatchObject([{ id: ROUTE, generation: 1 }])
  await next.detach()
})

test('the edge is in a session of its own, so that a signal for the server’s group does not reach it', async () => {
  const { edge } = await startEdge()
  const { pid } = await edge.status()
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]?.split(' ') ?? []
  expect(Number(fields[3])).toBe(pid)
})

test('the control socket, the table and the token are for the owner alone', async () => {
  const { edge, directory } = await startEdge()
  await edge.swap(swapTo([]))
  expect(statSync(directory).mode & 0o077).toBe(0)
  for (const file of ['control.sock', 'table.json', 'probe-token', 'edge.log', 'edge.lock']) {
    expect(statSync(join(directory, file)).mode & 0o077, file).toBe(0)
  }
})

test('I5: a killed worker is replaced and gets the table before it accepts; the others serve on', async () => {
  const { edge, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const [first] = (await edge.status()).workers
  process.kill(first?.pid ?? 0, 'SIGKILL')
  for (let count = 0; count < 20; count++) expect(statusOf(await exchangeRaw(port, GET))).toBe(200)
  await eventually(async () => {
    const { workers, restarts } = await edge.status()
    return restarts === 1 && workers.length === 2 && workers.every((worker) => worker.pid !== first?.pid)
  })
  for (let count = 0; count < 20; count++) expect(statusOf(await exchangeRaw(port, GET))).toBe(200)
})

test('I3: a worker that hangs does not hold up a swap: it is killed before the swap is acknowledged', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const [hanging] = (await edge.status()).workers
  process.kill(hanging?.pid ?? 0, 'SIGSTOP')
  await edge.swap(swapTo([next.target]))
  expect(isRunning(hanging?.pid ?? 0)).toBe(false)
  expect(await exchangeRaw(port, GET)).toContain('next')
})

test('I3: a graceful restart under load loses nothing; clients are asked to reconnect once', async () => {
  const { edge, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const load = new EdgeLoad(port, HOST, 16)
  const before = await edge.status()
  for (let count = 0; count < 3; count++) {
    await edge.restart()
    const seen = load.requests
    await eventually(() => load.requests > seen + 200)
  }
  const after = await edge.status()
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.unannouncedCloses).toBe(0)
  expect(report.announcedCloses).toBeGreaterThan(0)
  expect(after.pid).not.toBe(before.pid)
  expect(after.port).toBe(before.port)
  await eventually(() => before.workers.every((worker) => !isRunning(worker.pid)))
})

test('I3: swaps and drains go on through a restart, and reach the old workers too', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const slow = await rawClient(port)
  slow.socket.write(`GET /slow?ms=4000 HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
  const idle = await rawClient(port)
  idle.socket.write(GET)
  await idle.until('old')
  await eventually(async () => (await edge.traffic(ROUTE))?.targets[0]?.inFlight === 1)
  await edge.restart()
  await edge.swap(swapTo([next.target]))
  // A connection from before the restart: one more answer, from the new version, then it ends.
  idle.socket.write(GET)
  expect(await idle.until('next')).toMatch(/connection: close/i)
  await idle.untilClosed()
  const report = await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 20_000, fence: 1 })
  expect(report).toMatchObject({ drainedConnections: 1, cutConnections: 0 })
  expect(slow.text).toContain('\r\n\r\nold')
})

test('a restart whose successor can not start leaves the present edge in charge', async () => {
  const { edge, directory, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const broken = join(directory, 'broken.mjs')
  writeFileSync(broken, 'process.exit(3)')
  await expect(edge.restart(broken)).rejects.toMatchObject({ code: 'EDGE_UNAVAILABLE' })
  expect((await edge.check(AbortSignal.timeout(5000))).ok).toBe(true)
  await edge.swap(swapTo([app.target], { pathPrefix: '/x' }))
  expect(statusOf(await exchangeRaw(port, GET))).toBe(404)
})

test('I5: after kill -9 of the primary its workers finish what they have, and a new one goes on from the table on disk', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const slow = await rawClient(port)
  slow.socket.write(`GET /slow?ms=1200 HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
  await eventually(async () => (await edge.traffic(ROUTE))?.targets[0]?.inFlight === 1)
  const before = await edge.status()
  process.kill(before.pid, 'SIGKILL')
  await edge.ensureRunning()
  expect((await edge.status()).port).toBe(port)
  expect(await edge.read()).toMatchObject([{ id: ROUTE, generation: 1, targets: [old.target] }])
  await edge.swap(swapTo([next.target]))
  // The orphaned worker joined the new primary: what it still has in flight is waited for.
  const report = await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 20_000, fence: 1 })
  expect(report.cutConnections).toBe(0)
  expect(await slow.until('\r\n\r\nold')).toContain('200')
  expect(await exchangeRaw(port, GET)).toContain('next')
  await eventually(() => before.workers.every((worker) => !isRunning(worker.pid)))
})

test('I5: an orphan that hangs is killed before the new primary acknowledges anything', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const { pid, workers } = await edge.status()
  process.kill(workers[0]?.pid ?? 0, 'SIGSTOP')
  process.kill(pid, 'SIGKILL')
  // Its listening socket is still open, so only its death frees the port.
  await edge.ensureRunning()
  expect(isRunning(workers[0]?.pid ?? 0)).toBe(false)
  expect(await exchangeRaw(port, GET)).toContain('v1')
})

test('I5: start() brings the edge back by itself after kill -9', async () => {
  const { edge, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  await edge.start()
  for (let count = 0; count < 3; count++) {
    const { pid } = await edge.status()
    process.kill(pid, 'SIGKILL')
    await eventually(async () => (await edge.status()).ready && (await edge.status()).pid !== pid)
    expect(await exchangeRaw(port, GET)).toContain('v1')
  }
})

test('I5: kill -9 at random moments of a row of swaps: what was acknowledged is there afterwards', async () => {
  const { edge } = await startEdge({ workers: 1 })
  const app = await startEdgeApp('v1')
  await edge.start()
  let acknowledged = 0
  for (let round = 0; round < 8; round++) {
    const { pid } = await edge.status()
    setTimeout(() => process.kill(pid, 'SIGKILL'), 3 + round * 7)
    for (let count = 0; count < 30; count++) {
      const targets = [{ ...app.target, instanceId: `ins_${round}_${count}` as never }]
      const { generation } = await edge.swap(swapTo(targets, { fence: round + 1 }))
      expect(generation).toBe(acknowledged + 1)
      acknowledged = generation
    }
    await eventually(async () => (await edge.status()).pid !== pid)
    expect(await edge.read()).toMatchObject([{ generation: acknowledged, fence: round + 1 }])
  }
})

test('a damaged table is passed over for the previous one, and the edge says so', async () => {
  const { edge, directory, port } = await startEdge()
  const [one, two] = await Promise.all([startEdgeApp('one'), startEdgeApp('two')])
  await edge.swap(swapTo([one.target]))
  await edge.swap(swapTo([two.target]))
  await edge.stop(0)
  const table = join(directory, 'table.json')
  writeFileSync(table, readFileSync(table, 'utf8').replace('"generation":2', '"generation":9'))
  await edge.ensureRunning()
  expect(await edge.read()).toMatchObject([{ generation: 1, targets: [one.target] }])
  expect((await edge.check(AbortSignal.timeout(5000))).summary).toMatch(
    /table\.json is damaged \(checksum\); the previous table .* is used/,
  )
  expect(await exchangeRaw((await edge.status()).port, GET)).toContain('one')
  expect(port).toBeGreaterThan(0)
})

test('a port that is already used is refused, and the refusal names the port and who has it', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  const { port } = other.address() as { port: number }
  await expect(startEdge({ listen: { host: '127.0.0.1', port } })).rejects.toMatchObject({
    code: 'PORT_IN_USE',
    message: expect.stringMatching(new RegExp(`port ${port} on 127.0.0.1 is already used by pid ${process.pid} `)),
  })
  other.close()
})

test('never two primaries on one directory: the second ends and disturbs nothing', async () => {
  const { edge, directory, port } = await startEdge()
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const config = JSON.stringify({ stateDirectory: directory, host: '127.0.0.1', port: 0, workers: 1 })
  const second = spawnSync(process.execPath, [builtFile('edge/embedded/main.ts'), config], { encoding: 'utf8', timeout: 20_000 })
  expect(second.status).toBe(1)
  expect(second.stderr).toContain('an edge already runs there')
  expect(existsSync(join(directory, 'control.sock'))).toBe(true)
  expect(await exchangeRaw(port, GET)).toContain('v1')
  expect((await edge.check(AbortSignal.timeout(5000))).ok).toBe(true)
})

test('I2: an instance that ignores SIGTERM gets no request after its drain, and costs none', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old', { ignoreTerm: true }), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  const load = new EdgeLoad(port, HOST, 8)
  await eventually(() => load.requests > 100)
  await edge.swap(swapTo([next.target]))
  load.forbidden.add('old')
  await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 5000, fence: 1 })
  old.process.kill('SIGTERM')
  const seen = load.requests
  await eventually(() => load.requests > seen + 200)
  await old.kill()
  const report = await load.stop()
  expect(report.errors).toEqual([])
})

test('I2: after a drain an instance that waits for its connections ends at once', async () => {
  const { edge, port } = await startEdge()
  const [old, next] = await Promise.all([startEdgeApp('old', { keepAliveMs: 60_000 }), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  await exchangeRaw(port, GET)
  await edge.swap(swapTo([next.target]))
  await edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 5000, fence: 1 })
  const started = performance.now()
  await old.terminate()
  expect(performance.now() - started).toBeLessThan(5000)
})

test('I12: a control message without an end is cut off, and the edge goes on', async () => {
  const { edge, directory } = await startEdge({ workers: 1 })
  const { connect } = await import('node:net')
  const socket = connect({ path: join(directory, 'control.sock') })
  let isClosed = false
  socket.on('error', () => {})
  socket.on('close', () => {
    isClosed = true
  })
  const flood = Buffer.alloc(1024 * 1024, 'a')
  await eventually(() => {
    if (!isClosed) socket.write(flood)
    return isClosed
  })
  expect((await edge.check(AbortSignal.timeout(5000))).ok).toBe(true)
})

test('I12: held requests are bounded in number', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startRawApp(() => 'HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok')
  await edge.swap(swapTo([{ instanceId: 'ins_raw' as never, host: '127.0.0.1', port: app.port }]))
  await edge.hold(ROUTE, { maxMs: 60_000, fence: 1 })
  const clients = await Promise.all(Array.from({ length: 20 }, () => rawClient(port)))
  // Pipelined: each client asks 60 times, 1,200 in all, more than may wait.
  for (const client of clients) client.socket.write(GET.repeat(60))
  await eventually(async () => ((await edge.traffic(ROUTE))?.failures ?? 0) === 200)
  await edge.release(ROUTE, 1)
  await eventually(() => clients.every((client) => client.text.split('HTTP/1.1 ').length === 61))
  const all = clients.map((client) => client.text).join('')
  expect(all.match(/HTTP\/1\.1 503/g)?.length).toBe(200)
  expect(all).toMatch(/x-shiplock-error: held[\s\S]*retry-after: \d+/)
  for (const client of clients) client.socket.destroy()
  await app.close()
})

/** Requests that the instance answers after `ms`, all of them claimed when this resolves. */
async function slowRequests(fixture: EdgeFixture, host: string, route: ServiceEnvironmentId, count: number, ms: number) {
  const before = (await fixture.edge.traffic(route))?.requests ?? 0
  const clients = await Promise.all(Array.from({ length: count }, () => rawClient(fixture.port)))
  for (const { socket } of clients) socket.write(`GET /slow?ms=${ms} HTTP/1.1\r\nhost: ${host}\r\n\r\n`)
  await eventually(async () => (await fixture.edge.traffic(route))?.requests === before + count)
  return clients
}

const pulses = (count: number) => {
  const since = performance.now()
  return eventually(() => performance.now() - since > count * LIMITS.edgePulseMs)
}

test('I3: a restart while a drain is under way cuts nothing of any service, and the drain goes on', async () => {
  const fixture = await startEdge()
  const { edge } = fixture
  const [old, next, other] = await Promise.all(['old', 'next', 'other'].map((version) => startEdgeApp(version)))
  if (old === undefined || next === undefined || other === undefined) throw new Error('no apps')
  const beside = 'sen_beside' as ServiceEnvironmentId
  await edge.swap(swapTo([old.target]))
  await edge.swap(swapTo([other.target], { routeId: beside, hosts: ['beside.localhost'] }))
  const clients = [
    ...(await slowRequests(fixture, HOST, ROUTE, 10, 4000)),
    ...(await slowRequests(fixture, 'beside.localhost', beside, 10, 4000)),
  ]
  await edge.swap(swapTo([next.target]))
  const drain = edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 30_000, fence: 1 })
  await eventually(async () => (await edge.traffic(ROUTE))?.generation === 2)
  const before = await edge.status()
  process.kill(before.pid, 'SIGHUP')
  await eventually(async () => (await edge.status().catch(() => null))?.ready === true && (await edge.status()).pid !== before.pid)
  for (const client of clients) expect(await client.until(/\r\n\r\n(old|other)$/)).toMatch(/^HTTP\/1\.1 200/)
  expect(await drain).toMatchObject({ drainedConnections: 10, cutConnections: 0, failures: 0 })
  expect(fixture.log()).not.toContain('did not acknowledge')
})

test('what a drain has to cut is counted once, also by the edge that took over meanwhile', async () => {
  const fixture = await startEdge()
  const { edge } = fixture
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  await slowRequests(fixture, HOST, ROUTE, 6, 60_000)
  await edge.swap(swapTo([next.target]))
  const drain = edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 5000, fence: 1 })
  const { pid } = await edge.status()
  process.kill(pid, 'SIGHUP')
  expect(await drain).toMatchObject({ drainedConnections: 0, cutConnections: 6 })
})

test('what ends with a worker that is killed stands in the report of the drain', async () => {
  const fixture = await startEdge({ workers: 1 })
  const { edge } = fixture
  const [old, next] = await Promise.all([startEdgeApp('old'), startEdgeApp('next')])
  await edge.swap(swapTo([old.target]))
  await slowRequests(fixture, HOST, ROUTE, 4, 60_000)
  await edge.swap(swapTo([next.target]))
  await slowRequests(fixture, HOST, ROUTE, 3, 60_000)
  await pulses(3)
  const drain = edge.drain(ROUTE, [old.target.instanceId], { timeoutMs: 30_000, fence: 1 })
  const { workers } = await edge.status()
  process.kill(workers[0]?.pid ?? 0, 'SIGKILL')
  expect(await drain).toMatchObject({ requests: 3, failures: 3, cutConnections: 4 })
})

test('I13: a worker that hangs is replaced although nothing is deployed', async () => {
  const { edge, port } = await startEdge({ workers: 1 })
  const app = await startEdgeApp('v1')
  await edge.swap(swapTo([app.target]))
  const [hanging] = (await edge.status()).workers
  process.kill(hanging?.pid ?? 0, 'SIGSTOP')
  const waiting = await rawClient(port)
  waiting.socket.write(GET)
  await eventually(() => !isRunning(hanging?.pid ?? 0))
  await eventually(async () => (await edge.status()).workers.length === 1)
  expect(await exchangeRaw(port, GET)).toContain('v1')
})
