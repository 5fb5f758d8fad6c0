import { execFileSync, spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { askService } from '../support/ask-service.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'

const EXAMPLES = resolve(import.meta.dirname, '../../examples')
const has = (program: string) => spawnSync('/bin/sh', ['-c', `PATH=/usr/local/bin:/usr/bin:/bin command -v ${program}`]).status === 0

/** What programs on this host need to reach the network; builds inherit nothing of the server, so they are set as variables. */
const NETWORK_VARIABLES = /^(https?_proxy|no_proxy|node_extra_ca_certs|npm_config_registry)$/i

let server: TestServer
const repos = mkdtempSync('/tmp/sl-examples-')
beforeAll(async () => {
  server = await startTestServer()
})
afterAll(async () => {
  await disposeServers()
  await removeTree(repos)
})

/** A repository with that example in it, and what is to be changed. */
function example(name: string) {
  const repo = new GitRepo(join(repos, name))
  cpSync(join(EXAMPLES, name), repo.directory, { recursive: true, filter: (path) => !/node_modules|\/(dist|bin)$/.test(path) })
  const config = join(repo.directory, 'shiplock.yaml')
  // Nobody watches in a test.
  if (existsSync(config)) writeFileSync(config, readFileSync(config, 'utf8').replace(/bake: \w+/, 'bake: 0'))
  repo.commit('as it is', {})
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  return { repo, source, deploy: () => server.deployed({ service: name, source }, 180_000) }
}

const logOf = async (id: string) => (await server.logLines(id)).map((line) => line.text).join('\n')

test('python: built, prepared once, served; a dependency file that changes prepares anew', async (context) => {
  context.skip(!has('python3'), 'there is no python3 on this host')
  const { repo, deploy } = example('python')
  const first = await logOf((await deploy()).id)
  expect(first).toMatch(/base python: python 3\.\d+/)
  expect(first).toContain('runtime layer: miss (nothing was prepared yet)')
  const { body } = await askService(server.edgePort, 'python')
  expect(JSON.parse(body)).toMatchObject({ release: 'v1', greeting: "Namespaces are one honking great idea -- let's do more of those!" })
  expect(JSON.parse(body).tool).toMatch(/^Python 3\./)

  repo.commit('another word', { 'app.py': `${readFileSync(join(repo.directory, 'app.py'), 'utf8')}\n# changed\n` })
  expect(await logOf((await deploy()).id)).toContain('runtime layer: hit')
  repo.commit('another dependency file', { 'requirements.txt': '# still nothing\n' })
  expect(await logOf((await deploy()).id)).toContain('runtime layer: miss (run.os, base')
})

test('native: compiled in the build, the program deployed without its source; a mistake in C is shown', async (context) => {
  context.skip(!has('cc'), 'there is no C compiler on this host')
  const { repo, source, deploy } = example('native')
  await deploy()
  expect((await askService(server.edgePort, 'native', '/?below=1000')).body).toBe('168 primes below 1000\n')
  expect(await artifactFiles('native', 1)).toEqual(['bin', 'bin/primes', 'package.json', 'src', 'src/server.js'])

  repo.commit('a mistake', { 'src/primes.c': 'int main(void) { return missing; }\n' })
  const { id } = await server.deploy({ service: 'native', source })
  const failed = await server.settled(id)
  expect(failed.error?.message).toMatch(/^build\.buildCommands\[0\] `mkdir -p bin` failed \(exit 1 /)
  expect(await logOf(id)).toMatch(/.missing. undeclared/)
  expect((await askService(server.edgePort, 'native')).status).toBe(200)
})

test('vite-static: installed from the registry, built by Vite, served; downloads are kept for the next build', async (context) => {
  const { repo, deploy } = example('vite-static')
  const reachable = await fetch('https://registry.npmjs.org/vite/6.4.1', { signal: AbortSignal.timeout(5000) }).then(
    (answer) => answer.ok,
    () => false,
  )
  context.skip(!reachable, 'the npm registry can’t be reached from here')
  const variables = Object.fromEntries(Object.entries(process.env).filter(([name]) => NETWORK_VARIABLES.test(name)))
  if (Object.keys(variables).length > 0) await server.call('PUT', '/v1/variables', { variables })
  await deploy()
  const page = await askService(server.edgePort, 'vite-static')
  expect(page.body).toContain('<h1>Built by Vite</h1>')
  const [, script = ''] = /src="(\/assets\/[^"]+\.js)"/.exec(page.body) ?? []
  expect(await askService(server.edgePort, 'vite-static', script)).toMatchObject({ status: 200 })
  repo.commit('another heading', { 'index.html': readFileSync(join(repo.directory, 'index.html'), 'utf8').replace('Built by', 'Made by') })
  await deploy()
  expect((await server.call('GET', '/v1/caches?service=vite-static')).items.map((entry: { layer: string }) => entry.layer)).toEqual([
    'tools',
  ])
  expect((await askService(server.edgePort, 'vite-static')).body).toContain('<h1>Made by Vite</h1>')
})

test('the artifact that is downloaded is the tree that runs; equal trees give equal bytes', async () => {
  const repo = new GitRepo(join(repos, 'down'))
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  const config =
    'services: { down: { build: { deployFiles: ["out/~"], buildCommands: ["mkdir -p out/sub && cp a.js out && ln -s a.js out/b.js && cp run.sh out/sub"] }, run: { start: node a.js }, deploy: { bake: 0 } } }'
  const app = "require('http').createServer((q, a) => a.end('ok')).listen(process.env.PORT)\n"
  repo.commit('v1', { 'shiplock.yaml': config, 'a.js': app, 'run.sh': { script: '#!/bin/sh\n' } })
  await server.deployed({ service: 'down', source })
  await server.deployed({ service: 'down', source, options: { rebuild: true } })
  const archives = await Promise.all([1, 2].map((number) => download('down', number)))
  expect(Buffer.compare(archives[0] ?? Buffer.of(), archives[1] ?? Buffer.of(1))).toBe(0)
  const to = join(repos, 'unpacked')
  mkdirSync(to)
  writeFileSync(join(repos, 'a.tar'), gunzipSync(archives[0] ?? Buffer.of()))
  execFileSync('tar', ['-xf', join(repos, 'a.tar'), '-C', to])
  expect(readdirSync(to, { recursive: true }).sort()).toEqual(['a.js', 'b.js', 'sub', 'sub/run.sh'])
  expect(readFileSync(join(to, 'b.js'), 'utf8')).toBe(app)
  expect(execFileSync(join(to, 'sub/run.sh')).length).toBe(0)
  expect((await server.api('GET', '/v1/services/down/releases/99/artifact')).body).toMatchObject({ code: 'NOT_FOUND' })
})

test('caches are listed and cleared over the API, each layer alone', async () => {
  const repo = new GitRepo(join(repos, 'cached'))
  const source = { kind: 'git' as const, url: `file://${repo.directory}`, ref: null }
  const build = '{ prepareCommands: ["echo x > ~/x"], buildCommands: ["mkdir -p deps && touch deps/a"], cache: [deps] }'
  const run = '{ start: node a.js, prepareCommands: ["echo y > ~/y"] }'
  const app = "require('http').createServer((q, a) => a.end('ok')).listen(process.env.PORT)\n"
  repo.commit('v1', { 'shiplock.yaml': `services: { cached: { build: ${build}, run: ${run}, deploy: { bake: 0 } } }`, 'a.js': app })
  const deploy = async () => logOf((await server.deployed({ service: 'cached', source, options: { rebuild: true } })).id)
  await deploy()
  const layers = async () =>
    (await server.call('GET', '/v1/caches?service=cached')).items.map((entry: { layer: string }) => entry.layer).sort()
  const all = await layers()
  expect(all).toEqual(expect.arrayContaining(['build', 'run']))
  const again = await deploy()
  expect(again).toContain('build layer: hit')
  expect(again).toContain('runtime layer: hit')
  expect(await server.call('DELETE', '/v1/services/cached/caches?layer=run')).toEqual({
    service: 'cached',
    layer: 'run',
    bytes: 0,
    runtimeLayers: 1,
  })
  const third = await deploy()
  expect(third).toContain('build layer: hit')
  expect(third).toContain('runtime layer: miss (it was invalidated)')
  await server.call('DELETE', '/v1/services/cached/caches?layer=build')
  expect(await deploy()).toContain('build layer: miss (')
  expect((await server.call('DELETE', '/v1/services/cached/caches')).layer).toBe('all')
  expect((await layers()).filter((layer: string) => layer !== 'run')).toEqual([])
  expect((await server.api('DELETE', '/v1/services/cached/caches?layer=everything')).status).toBe(400)
})

async function download(service: string, release: number): Promise<Buffer> {
  const answer = await fetch(`${server.apiUrl}/v1/services/${service}/releases/${release}/artifact`, {
    headers: { authorization: `Bearer ${server.token}` },
  })
  expect(answer.status).toBe(200)
  expect(answer.headers.get('content-disposition')).toBe(`attachment; filename="${service}-v${release}.tar.gz"`)
  return Buffer.from(await answer.arrayBuffer())
}

async function artifactFiles(service: string, release: number): Promise<string[]> {
  writeFileSync(join(repos, 'list.tar'), gunzipSync(await download(service, release)))
  return execFileSync('tar', ['-tf', join(repos, 'list.tar')], { encoding: 'utf8' })
    .trim()
    .split('\n')
    .sort()
}
