import { cpSync, mkdtempSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { askService } from '../support/ask-service.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

let server: TestServer
const repos = mkdtempSync('/tmp/sl-corpus-')
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(async () => {
  await disposeServers()
  await removeTree(repos)
})

async function deployed(name: string, change: Readonly<Record<string, string>> = {}): Promise<void> {
  const repo = new GitRepo(join(repos, name))
  cpSync(resolve(import.meta.dirname, '../corpus', name, 'app'), repo.directory, { recursive: true })
  repo.commit('as it is', { 'shiplock.yaml': `services:\n  ${name}:\n    deploy:\n      bake: 0\n`, ...change })
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  await server.deployed({ service: name, source }, 180_000)
}

test('a start script runs without a package manager, its pre-script first and what it sets in place', async () => {
  await server.call('PUT', '/v1/variables', { variables: { NODE_ENV: 'production' } })
  await deployed('node-start-script')
  expect((await askService(server.edgePort, 'node-start-script')).body).toBe('hello, production\n')
})

test('a page with a client router answers at every address, and a missing asset is no page', async () => {
  // The tools of the real one are large; that they are named is what is recognised.
  await deployed('node-single-page', { 'package.json': PACKAGE, 'tools/vite/package.json': TOOL, 'tools/router/package.json': TOOL })
  const ask = (path: string) => askService(server.edgePort, 'node-single-page', path)
  expect((await ask('/users/7')).body).toContain('one page')
  expect((await ask('/assets/old.js')).status).toBe(404)
  expect((await ask('/assets/app.js')).status).toBe(200)
})

const TOOL = JSON.stringify({ name: 'a-tool', version: '1.0.0' })
const PACKAGE = JSON.stringify({
  name: 'pages',
  scripts: { build: 'node build.mjs', start: 'vite' },
  devDependencies: { vite: 'file:tools/vite', 'react-router-dom': 'file:tools/router' },
})
