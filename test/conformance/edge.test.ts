import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { FakeEdge } from '../../src/edge/fake.ts'
import { PlainClient } from '../support/edge-client.ts'
import { startEdge, targetOf } from '../support/edge-fixture.ts'
import { edgeConformance } from './edge-suite.ts'

edgeConformance({
  name: 'fake',
  noTraffic: 'an edge in memory has no listener',
  open: async () => ({
    edge: new FakeEdge(),
    target: (instance) => targetOf(instance, 9),
    get: () => Promise.reject(new Error('the fake serves nobody')),
    close: async () => {},
  }),
})

edgeConformance({
  name: 'embedded',
  noTraffic: null,
  open: async () => {
    const app = createServer((_request, response) => response.end('hello'))
    await new Promise<void>((resolve) => app.listen(0, '127.0.0.1', resolve))
    const { port } = app.address() as AddressInfo
    const fixture = await startEdge()
    return {
      edge: fixture.edge,
      target: (instance) => targetOf(instance, port),
      get: async (host, path) => {
        const client = new PlainClient(fixture.port, host)
        const { status, body } = await client.request('GET', path).finally(() => client.close())
        return { status, body: body.toString() }
      },
      close: async () => {
        await fixture.close()
        app.close()
        app.closeAllConnections()
      },
    }
  },
})
