import { cpSync, existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { askService } from '../support/ask-service.ts'
import { importBaseImage, PACKAGES } from '../support/base-images.ts'
import { containerSettings } from '../support/container-sandbox.ts'
import { dockerdMissing, sharedDockerd } from '../support/dockerd.ts'
import { GitRepo, type TreeFiles } from '../support/git-repo.ts'
import { hasPackages } from '../support/package-files.ts'
import { StoryWorld } from '../support/story-world.ts'

const EXAMPLES = resolve(import.meta.dirname, '../../examples')
const LONG = 240_000
const missing = dockerdMissing()
const repos = mkdtempSync('/tmp/sl-examples-')
let world: StoryWorld
beforeAll(async () => {
  if (missing !== null) return
  const dockerd = await sharedDockerd()
  const { SHIPLOCK_BASES: bases = '' } = await containerSettings(dockerd)
  const python = hasPackages(PACKAGES.python) ? [`python=${await importBaseImage(dockerd, 'python')}`] : []
  // A Node image with a compiler, as the large one of Docker Hub.
  const node = hasPackages(PACKAGES.compiler) ? [`nodejs=${await importBaseImage(dockerd, 'compiler')}`] : []
  world = await StoryWorld.begin({ env: { SHIPLOCK_BASES: [bases, ...python, ...node].join(',') } }, dockerd)
}, LONG)
afterAll(async () => {
  await StoryWorld.endAll()
  await removeTree(repos)
})
beforeEach((context) => context.skip(missing !== null, missing ?? ''))

/** Files and variables with which builds reach the network as this host does: they inherit nothing of it, and see none of its files. */
const AUTHORITIES = process.env.NODE_EXTRA_CA_CERTS ?? ''
const NETWORK = existsSync(AUTHORITIES) ? { 'authorities.pem': readFileSync(AUTHORITIES, 'utf8') } : {}
const variables = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => /^(https?_proxy|no_proxy|npm_config_registry)$/i.test(name))),
  ...(existsSync(AUTHORITIES) ? { NODE_EXTRA_CA_CERTS: '/build/source/authorities.pem' } : {}),
}

async function deployed(name: string, files: TreeFiles = {}) {
  const repo = new GitRepo(join(repos, name))
  cpSync(join(EXAMPLES, name), repo.directory, { recursive: true, filter: (path) => !/node_modules|\/(dist|bin)$/.test(path) })
  const config = join(repo.directory, 'shiplock.yaml')
  // Nobody watches in a test.
  if (existsSync(config)) writeFileSync(config, readFileSync(config, 'utf8').replace(/bake: \w+/, 'bake: 0'))
  repo.commit('as it is', files)
  const { id } = await world.server.deployed({ service: name, source: { kind: 'git', url: `file://${repo.directory}`, ref: null } }, LONG)
  return (await world.server.logLines(id)).map((line) => line.text).join('\n')
}
const body = async (name: string, path = '/') => (await askService(world.server.edgePort, name, path)).body

test('hello: two instances, each a container', { timeout: LONG }, async () => {
  expect(await deployed('hello')).toMatch(/base nodejs: shiplock-test\/node/)
  expect((await askService(world.server.edgePort, 'hello')).status).toBe(200)
  expect((await world.place()).running.size).toBe(2)
})

test('python: its run layer is made in a container of its base', { timeout: LONG }, async (context) => {
  context.skip(!hasPackages(PACKAGES.python), 'this host has no Python of Debian’s to make an image of')
  const log = await deployed('python')
  expect(log).toContain('base python: shiplock-test/python:3')
  expect(log).toContain('$ python3 --version > prepared.txt')
  expect((await askService(world.server.edgePort, 'python')).status).toBe(200)
})

test('native: what is compiled in a container runs in one', { timeout: LONG }, async (context) => {
  context.skip(!hasPackages(PACKAGES.compiler), 'this host has no compiler of Debian’s to make an image of')
  expect(await deployed('native')).toContain('$ test "$(bin/primes 100)" = 25')
  expect((await askService(world.server.edgePort, 'native')).status).toBe(200)
})

const isRegistryReachable = () =>
  fetch('https://registry.npmjs.org/vite/6.4.1', { signal: AbortSignal.timeout(5000) }).then(
    (answer) => answer.ok,
    () => false,
  )

test('vite-static: built in a container, served without one', { timeout: LONG }, async (context) => {
  context.skip(!(await isRegistryReachable()), 'the npm registry can’t be reached from here')
  if (Object.keys(variables).length > 0) await world.server.call('PUT', '/v1/variables', { variables })
  expect(await deployed('vite-static', NETWORK)).toMatch(/base nodejs: .*\n[\s\S]*vite/)
  expect(await body('vite-static')).toContain('<html')
})

test('node-npm: dependencies from the registry, installed and used in containers', { timeout: LONG }, async (context) => {
  context.skip(!(await isRegistryReachable()), 'the npm registry can’t be reached from here')
  if (Object.keys(variables).length > 0) await world.server.call('PUT', '/v1/variables', { variables })
  expect(await deployed('node-npm', NETWORK)).toContain('$ npm ci')
  expect((await askService(world.server.edgePort, 'node-npm')).status).toBe(200)
})

test('static: a site without a program is served without a container', { timeout: LONG }, async () => {
  const before = (await world.place()).running.size
  await deployed('static')
  expect(await body('static')).toContain('A static site')
  expect((await world.place()).running.size).toBe(before)
})
