import { existsSync, mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { CRASH_AT_FILE, EDGE_CRASH_POINTS } from '../../src/edge/embedded/edge-crash-points.ts'
import { killEdgeApps, startEdgeApp } from '../support/edge-apps.ts'
import { closeEdges, startEdge, swapTo } from '../support/edge-fixture.ts'
import { exchangeRaw } from '../support/edge-raw.ts'
import { eventually } from '../support/eventually.ts'

afterEach(async () => {
  await closeEdges()
  await killEdgeApps()
})

const GET = 'GET / HTTP/1.1\r\nhost: hello.localhost\r\nconnection: close\r\n\r\n'

/** The very first change hits the point; the edge is started again by itself and the caller repeats its call, as the engine's edge does. */
for (const point of EDGE_CRASH_POINTS) {
  test(`I5: an edge killed at ${point} comes back, the swap is done once, and what is acknowledged serves`, async () => {
    const directory = mkdtempSync(join(tmpdir(), 'shiplock-edge-'))
    writeFileSync(join(directory, CRASH_AT_FILE), point)
    const { edge, port } = await startEdge({ stateDirectory: directory })
    const [one, two] = await Promise.all([startEdgeApp('one'), startEdgeApp('two')])
    await edge.start()
    expect(await edge.swap(swapTo([one.target]))).toMatchObject({ generation: 1 })
    expect(existsSync(join(directory, CRASH_AT_FILE)), `${point} was never reached`).toBe(false)
    expect(await edge.read()).toMatchObject([{ generation: 1, targets: [one.target] }])
    await eventually(async () => expect(await exchangeRaw(port, GET)).toContain('one'))
    expect(await edge.swap(swapTo([two.target], { fence: 2 }))).toMatchObject({ generation: 2, replaced: [one.target] })
    expect(await exchangeRaw(port, GET)).toContain('two')
    await expect(edge.swap(swapTo([one.target], { fence: 1 }))).rejects.toMatchObject({ code: 'FENCED' })
  })
}
