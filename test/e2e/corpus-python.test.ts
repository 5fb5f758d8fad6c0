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

test('an application that only a Procfile names goes live as it is, its release line first, its other processes told', async () => {
  const repo = new GitRepo(join(repos, 'python-procfile'))
  cpSync(resolve(import.meta.dirname, '../corpus/python-procfile/app'), repo.directory, { recursive: true })
  // Nobody watches in a test; what is built and started is left to recognition.
  repo.commit('as it is', { 'shiplock.yaml': 'services:\n  words:\n    deploy:\n      bake: 0\n' })
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  const { id } = await server.deployed({ service: 'words', source }, 120_000)
  const { body } = await askService(server.edgePort, 'words')
  expect(body).toContain('hello from Python')
  const log = (await server.logLines(id)).map((line) => line.text).join('\n')
  expect(log).toMatch(/exec python3 release\.py\n[\s\S]*released/)
  expect(log).toMatch(/names worker: not started/)
})
