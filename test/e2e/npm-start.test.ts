import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { askService } from '../support/ask-service.ts'
import { ensureBuilt } from '../support/build.ts'
import { type CliEnvironment, startScript } from '../support/cli.ts'
import { endAll } from '../support/leak-check.ts'
import { freePort, freshDataDirectory } from '../support/server.ts'

const SCRIPT = resolve(import.meta.dirname, '../../scripts/start.mjs')
const WITHIN_MS = 60_000

let environment: CliEnvironment
beforeAll(async () => {
  ensureBuilt()
  const dataDirectory = join(freshDataDirectory(), 'a path with spaces')
  mkdirSync(dataDirectory)
  environment = { dataDirectory, apiPort: await freePort(), edgePort: await freePort() }
})
afterAll(async () => {
  expect(await endAll(environment.dataDirectory)).toEqual([])
  await removeTree(resolve(environment.dataDirectory, '..'))
})

test.each(['the first time', 'and again'])('npm start makes the example answer, and Ctrl-C ends all of it: %s', async () => {
  const { child, output, ended } = startScript(environment, SCRIPT)
  await expect.poll(output, { timeout: WITHIN_MS }).toMatch(/hello v\d+ is live|ERROR|How to solve/)
  expect(output()).toMatch(/hello v\d+ is live/)
  expect((await askService(environment.edgePort, 'hello')).body).toContain('Hello from Shiplock')
  // The terminal sends it to the whole group; the server ends with the script.
  process.kill(-(child.pid ?? 0), 'SIGINT')
  const { stderr } = await ended
  expect(stderr).not.toContain('ERROR')
  await expect.poll(() => askService(environment.edgePort, 'hello').catch(() => null), { timeout: WITHIN_MS }).toBe(null)
})
