import { mkdtempSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { request as httpRequest } from 'node:http'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { PROVIDER_PATH } from '../../src/edge/traefik/provider.ts'
import { disposeServers, freePort, startTestServer } from '../support/server.ts'
import { StoryRepo } from '../support/story-repo.ts'
import { TraefikStandIn } from '../support/traefik-stand-in.ts'

const repos = mkdtempSync('/tmp/sl-traefik-')
afterAll(async () => {
  await disposeServers()
  await removeTree(repos)
})

const ask = (port: number, host: string) =>
  new Promise<string>((resolve, reject) => {
    const request = httpRequest({ host: '127.0.0.1', port, headers: { host }, agent: false }, (response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => resolve(text))
    })
    request.on('error', reject)
    request.end()
  })

test('a server with SHIPLOCK_EDGE=traefik: the first answer after "running" comes through Traefik from the version that was deployed', async () => {
  const providerPort = await freePort()
  const headers = { authorization: '' }
  const traefik = new TraefikStandIn({ endpoint: `http://127.0.0.1:${providerPort}${PROVIDER_PATH}`, pollMs: 200, headers })
  await traefik.start()
  try {
    const server = await startTestServer({
      env: {
        SHIPLOCK_EDGE: 'traefik',
        SHIPLOCK_TRAEFIK_LISTEN: `127.0.0.1:${providerPort}`,
        SHIPLOCK_TRAEFIK_ENTRY: `http://127.0.0.1:${traefik.port}`,
      },
    })
    headers.authorization = `Bearer ${(await readFile(join(server.dataDirectory, 'traefik-token'), 'utf8')).trim()}`
    const repo = new StoryRepo(join(repos, 'app'), 'behind', {})
    for (const version of ['v1', 'v2', 'v3']) {
      repo.commit(version)
      const deployment = await server.deployed({ service: 'behind', source: repo.source })
      expect(deployment.status).toBe('running')
      expect(await ask(traefik.port, 'behind.localhost')).toContain(version)
    }
    expect(traefik.hosts).toEqual(['behind.localhost'])
    expect((await server.service('behind')).url).toBe(`http://behind.localhost:${traefik.port}`)
    const { checks } = await server.call('GET', '/v1/server')
    expect(checks.find((check: { name: string }) => check.name === 'edge')).toMatchObject({
      status: 'ok',
      summary: expect.stringContaining('Traefik asked'),
    })
  } finally {
    await traefik.stop()
  }
}, 180_000)
