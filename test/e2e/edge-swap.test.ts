import { once } from 'node:events'
import { afterEach, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import type { Target } from '../../src/edge/edge.ts'
import { killEdgeApps, startEdgeApp } from '../support/edge-apps.ts'
import { closeEdges, HOST, ROUTE, startEdge, swapTo } from '../support/edge-fixture.ts'
import { EdgeLoad } from '../support/edge-load.ts'
import { rawClient } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

afterEach(async () => {
  await closeEdges()
  await killEdgeApps()
})

/** A websocket and an event stream that go on with the version on which they began until the client ends them. */
async function openStreams(port: number, version: string): Promise<{ finish(): Promise<void> }> {
  const socket = new WebSocket(`ws://127.0.0.1:${port}/`, { headers: { host: HOST } })
  await once(socket, 'open')
  const events = await rawClient(port)
  events.socket.write(`GET /events HTTP/1.1\r\nhost: ${HOST}\r\n\r\n`)
  await events.until(`data: ${version} 0`)
  return {
    finish: async () => {
      const seen = events.text.length
      await eventually(() => events.text.length > seen)
      for (const line of events.text.match(/data: .*/g) ?? []) expect(line).toContain(`data: ${version} `)
      events.socket.destroy()
      const answer = once(socket, 'message')
      socket.send('hello')
      expect(String((await answer)[0])).toBe(`${version} hello`)
      socket.close()
      await once(socket, 'close')
    },
  }
}

test('I3: 100 swaps under 32 keep-alive clients lose no request, close no connection and leave no answer by an old version', async () => {
  const { edge, port } = await startEdge()
  let live = await startEdgeApp('v0')
  await edge.swap(swapTo([live.target]))
  const load = new EdgeLoad(port, HOST)
  const swaps = 100
  for (let count = 1; count <= swaps; count++) {
    const next = await startEdgeApp(`v${count}`)
    const streams = count % 10 === 0 ? await openStreams(port, live.version) : null
    await edge.swap(swapTo([next.target]))
    load.forbidden.add(live.version)
    await streams?.finish()
    await edge.drain(ROUTE, [live.target.instanceId], { timeoutMs: 10_000, fence: 1 })
    // Right after the drain, and without a chance to say goodbye: whatever the edge still wanted from it would be lost.
    await live.kill()
    live = next
  }
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.unannouncedCloses).toBe(0)
  expect(report.announcedCloses).toBe(0)
  expect(report.connections).toBe(32)
  expect(report.versions.size).toBe(swaps + 1)
  // About 35 s on two idle cores; a busy machine takes its time, which proves nothing against the edge.
}, 300_000)

test('I3: swapping back and forth between two sets of targets as fast as it goes loses nothing', async () => {
  const { edge, port } = await startEdge()
  const [a, b, c, d] = await Promise.all(['a', 'b', 'c', 'd'].map((version) => startEdgeApp(version)))
  const sets: Target[][] = [
    [a, b],
    [c, d],
  ].map((apps) => apps.flatMap((app) => (app === undefined ? [] : [app.target])))
  await edge.swap(swapTo(sets[0] ?? []))
  const load = new EdgeLoad(port, HOST)
  for (let count = 1; count <= 120; count++) {
    const { replaced } = await edge.swap(swapTo(sets[count % 2] ?? []))
    await edge.drain(
      ROUTE,
      replaced.map((target) => target.instanceId),
      { timeoutMs: 10_000, fence: 1 },
    )
  }
  const report = await load.stop()
  expect(report.errors).toEqual([])
  expect(report.unannouncedCloses + report.announcedCloses).toBe(0)
}, 300_000)
