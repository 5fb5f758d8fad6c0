import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join, resolve } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT_CODES } from '../../src/core/errors.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { type CliEnvironment, runCli, startCli } from '../support/cli.ts'
import { eventually } from '../support/eventually.ts'
import { endAll } from '../support/leak-check.ts'
import { freePort, freshDataDirectory } from '../support/server.ts'

const EXAMPLES = resolve(import.meta.dirname, '../../examples')

async function newEnvironment(): Promise<CliEnvironment> {
  return { dataDirectory: freshDataDirectory(), apiPort: await freePort(), edgePort: await freePort() }
}

async function remove(environment: CliEnvironment): Promise<void> {
  const left = await endAll(environment.dataDirectory)
  await removeTree(environment.dataDirectory)
  expect(left).toEqual([])
}

async function fetchText(environment: CliEnvironment, service: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${environment.edgePort}/`, { headers: { connection: 'close' } }).catch(() => null)
  if (response === null) return ''
  await response.text()
  // fetch does not let us choose the Host; the request below does.
  const { request } = await import('node:http')
  return new Promise((done, fail) => {
    const outgoing = request(
      { host: '127.0.0.1', port: environment.edgePort, path: '/', headers: { host: `${service}.localhost` }, agent: false },
      (answer) => {
        let body = ''
        answer.setEncoding('utf8').on('data', (chunk: string) => {
          body += chunk
        })
        answer.on('end', () => done(body))
      },
    )
    outgoing.on('error', fail)
    outgoing.end()
  })
}

describe('from nothing to a running app and back, as a person does it', () => {
  let environment: CliEnvironment
  let app: string
  const cli = (...args: string[]) => runCli(environment, args)
  const edit = (from: string, to: string) =>
    writeFileSync(join(app, 'server.js'), readFileSync(join(app, 'server.js'), 'utf8').replace(from, to))

  beforeAll(async () => {
    environment = await newEnvironment()
    app = join(environment.dataDirectory, 'my app')
    mkdirSync(app)
    cpSync(join(EXAMPLES, 'hello'), app, { recursive: true })
  })
  afterAll(() => remove(environment))

  test('without a server a command says so, and how to get one', async () => {
    const { code, stderr } = await cli('status')
    expect(code).toBe(EXIT_CODES.platform)
    expect(stderr).toMatch(/^ERROR SERVER_UNREACHABLE: no server answers at /)
    expect(stderr).toContain('How to solve:')
  })

  test('`up` starts a server, deploys, and ends with the URL that answers', async () => {
    const { code, stdout, stderr } = await cli('up', app)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toContain('Node.js app (package.json)')
    expect(stdout).toMatch(/✔ verify/)
    expect(stdout).toMatch(/✔ hello v1 is live after/)
    expect(stdout).toContain(`http://hello.localhost:${environment.edgePort}`)
    expect(await fetchText(environment, 'hello')).toContain('Hello from Shiplock')
  })

  test('status, releases, queue, logs and events tell the same story, also as JSON', async () => {
    expect((await cli('status')).stdout).toMatch(/hello +production +v1 +2 serving +running/)
    const detail = JSON.parse((await cli('status', 'hello', '--json')).stdout)
    expect(detail).toMatchObject({ service: 'hello', live: { release: 1 }, hold: null })
    expect(JSON.parse((await cli('releases', '--json')).stdout).releases[0]).toMatchObject({ number: 1, live: true })
    expect(JSON.parse((await cli('queue', '--json')).stdout)).toEqual({ queue: [] })
    await eventually(async () => (await cli('logs', 'hello')).stdout.includes('release v1 listens on port'))
    const events = (await cli('events', '--json')).stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(events.map((event) => event.sequence)).toEqual([...events.map((event) => event.sequence)].sort((a, b) => a - b))
    expect(events.map((event) => event.type)).toContain('release.active')
    expect((await cli('logs', detail.live.deploymentId)).stdout).toContain('instance')
  })

  test('a change is deployed, and `rollback` takes it back with the variables of then', async () => {
    expect((await cli('env', 'set', 'GREETING=Changed', '-s', 'hello')).code).toBe(0)
    expect((await cli('env', 'list')).stdout).not.toContain('Changed')
    const deployed = await cli('deploy', app, '--json')
    expect(deployed.code).toBe(0)
    expect(JSON.parse(deployed.stdout).deployments[0]).toMatchObject({ status: 'running', release: 2, trigger: { kind: 'cli' } })
    expect(await fetchText(environment, 'hello')).toContain('Changed')
    const back = await cli('rollback')
    expect(back.stdout).toMatch(/hello {2}v2 → v1/)
    expect(back.stdout).not.toContain('hunter')
    expect(back.code).toBe(0)
    expect(await fetchText(environment, 'hello')).toContain('Hello from Shiplock')
    expect((await cli('status')).stdout).toContain('held')
  })

  test('a version that never becomes ready fails with attempts, last lines and a hint; the old one serves on', async () => {
    const before = readFileSync(join(app, 'server.js'), 'utf8')
    edit(
      'server.listen(port, () => console.log(`release ${release} listens on port ${port}`))',
      "setInterval(() => console.log('not listening'), 200)",
    )
    writeFileSync(
      join(app, 'shiplock.yaml'),
      readFileSync(join(app, 'shiplock.yaml'), 'utf8').replace('failureTimeout: 30s', 'failureTimeout: 2s'),
    )
    const { code, stdout } = await cli('deploy', app)
    writeFileSync(join(app, 'server.js'), before)
    expect(code).toBe(EXIT_CODES.deploymentFailed)
    expect(stdout).toMatch(/ERROR NOT_READY/)
    expect(stdout).toContain('ECONNREFUSED')
    expect(stdout).toContain('| not listening')
    expect(stdout).toContain('How to solve:')
    expect(await fetchText(environment, 'hello')).toContain('Hello from Shiplock')
  })

  test('Ctrl-C while following leaves the deployment alone and says how to go on', async () => {
    const slow = join(environment.dataDirectory, 'slow')
    mkdirSync(slow)
    writeFileSync(
      join(slow, 'package.json'),
      JSON.stringify({ name: 'slow', scripts: { build: 'echo building; sleep 600', start: 'node x.js' } }),
    )
    const running = startCli(environment, ['deploy', slow])
    await eventually(() => expect(running.output()).toContain('| building'), { withinMs: 30_000 })
    const id = /dep_\w+/.exec(running.output())?.[0] ?? ''
    await eventually(async () => JSON.parse((await cli('queue', '--json')).stdout).queue[0]?.stage === 'build', { withinMs: 30_000 })
    running.child.kill('SIGINT')
    const { code, stderr } = await running.ended
    expect(code).toBe(130)
    expect(stderr).toContain(`cancel ${id}`)
    expect(JSON.parse((await cli('queue', '--json')).stdout).queue[0]).toMatchObject({ id })
    expect((await cli('cancel', id)).code).toBe(0)
    const followed = await cli('logs', id, '-f')
    expect(followed.stdout).toContain('canceled')
  })

  test('what does not exist and what is wrong has its own exit code', async () => {
    expect((await cli('status', 'nosuch')).code).toBe(EXIT_CODES.notFound)
    expect((await cli('rollback', 'v99', '-s', 'hello')).code).toBe(EXIT_CODES.conflict)
    expect((await cli('deploy', '/nonexistent')).code).toBe(EXIT_CODES.usage)
    expect((await cli('stauts')).stderr).toContain('Did you mean status?')
    expect((await runCli(environment, ['status'], { env: { SHIPLOCK_TOKEN: 'wrong' } })).code).toBe(EXIT_CODES.unauthorized)
    const asJson = await cli('status', 'nosuch', '--json')
    expect(JSON.parse(asJson.stdout).error.code).toBe('NOT_FOUND')
  })

  test('`server stop` leaves the apps serving; `up` finds everything again', async () => {
    expect((await cli('server', 'stop')).stdout).toContain('go on serving')
    expect((await cli('server', 'stop')).stdout).toContain('No server runs here')
    expect(await fetchText(environment, 'hello')).toContain('Hello from Shiplock')
    expect((await cli('server', 'start')).code).toBe(0)
    expect((await cli('server', 'start')).stdout).toContain('runs already')
    expect((await cli('doctor')).stdout).toMatch(/✔ database/)
    expect(await fetchText(environment, 'hello')).toContain('Hello from Shiplock')
  })

  test('`server stop --all` ends the apps and the edge too', async () => {
    expect((await cli('server', 'stop', '--all')).code).toBe(0)
    expect(await fetchText(environment, 'hello')).toBe('')
  })
})

describe('when it can’t begin', () => {
  let environment: CliEnvironment
  beforeAll(async () => {
    environment = await newEnvironment()
  })
  afterAll(() => remove(environment))

  test('a port that is taken is named', async () => {
    const taken = createServer().listen(environment.edgePort, '127.0.0.1')
    const { code, stderr } = await runCli(environment, ['up', join(EXAMPLES, 'static')])
    taken.close()
    expect(stderr).toMatch(/^ERROR PORT_IN_USE/)
    expect(stderr).toContain(String(environment.edgePort))
    expect(code).toBe(EXIT_CODES.platform)
  })

  test('`config explain` needs no server and says where each value came from', async () => {
    const { code, stdout } = await runCli(environment, ['config', 'explain', join(EXAMPLES, 'hello')])
    expect(code).toBe(0)
    expect(stdout).toMatch(/run\.instances +2 +shiplock\.yaml:\d+/)
    expect(stdout).toMatch(/deploy\.drainTimeout.* default/)
  })

  test('`up --foreground` ends with everything on Ctrl-C, and says so', async () => {
    const running = startCli(environment, ['up', '--foreground', join(EXAMPLES, 'static')])
    await eventually(() => running.output().includes('Ctrl-C'), { withinMs: 60_000 })
    expect(await fetchText(environment, 'static')).toContain('A static site')
    running.child.kill('SIGINT')
    const { code, stdout } = await running.ended
    expect(code).toBe(0)
    expect(stdout).toContain('stopped; everything is kept')
    expect(await fetchText(environment, 'static')).toBe('')
  })
})
