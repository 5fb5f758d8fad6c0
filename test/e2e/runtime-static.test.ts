import { mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { removeTree } from '../../src/core/remove-tree.ts'
import { get, never, portOf } from '../conformance/runtime-suite.ts'
import { bundle, removeBundle } from '../support/bundle.ts'
import { eventually } from '../support/eventually.ts'
import { instanceSpec, processHarness, type RuntimeHarness } from '../support/runtime-harness.ts'

let program: string
let site: string
beforeAll(async () => {
  program = await bundle('../../src/static-server/main.ts')
  site = await mkdtemp(join(tmpdir(), 'shiplock-site-'))
  await mkdir(join(site, 'public/docs'), { recursive: true })
  await mkdir(join(site, 'public/.git'))
  await writeFile(join(site, 'secret.txt'), 'not served')
  await writeFile(join(site, 'public/index.html'), '<h1>home</h1>')
  await writeFile(join(site, 'public/docs/index.html'), '<h1>docs</h1>')
  await writeFile(join(site, 'public/404.html'), '<h1>lost</h1>')
  await writeFile(join(site, 'public/.env'), 'TOKEN=1')
  await writeFile(join(site, 'public/.git/config'), 'private')
  await mkdir(join(site, 'public/.well-known'))
  await writeFile(join(site, 'public/.well-known/security.txt'), 'Contact: ada')
})
afterAll(async () => {
  await removeBundle(program)
  await removeTree(site)
})

describe.each(['auto', 'none'] as const)('a static site (sandbox %s)', (kind) => {
  let harness: RuntimeHarness
  let origin: string
  beforeEach(async () => {
    harness = await processHarness({ kind, cgroups: true, staticServerFile: program })
    const spec = instanceSpec({ artifactDirectory: site, staticRoot: 'public', startCommands: [] })
    const status = await harness.runtime.start(spec, 1, never())
    await get(status, '/')
    origin = `http://127.0.0.1:${portOf(status)}`
  })
  afterEach(async () => expect(await harness.close()).toEqual([]))

  const ask = async (path: string, init: RequestInit = {}) => {
    const response = await fetch(origin + path, { redirect: 'manual', ...init })
    return { status: response.status, body: await response.text(), headers: response.headers }
  }

  test('directories show their index, what is missing shows 404.html', async () => {
    expect(await ask('/')).toMatchObject({ status: 200, body: '<h1>home</h1>' })
    expect(await ask('/docs/')).toMatchObject({ status: 200, body: '<h1>docs</h1>' })
    expect(await ask('/nowhere')).toMatchObject({ status: 404, body: '<h1>lost</h1>' })
    expect(await ask('/nowhere', { method: 'HEAD' })).toMatchObject({ status: 404, body: '' })
  })

  test('an unchanged file is not sent again', async () => {
    const etag = (await ask('/')).headers.get('etag') ?? ''
    expect(etag).not.toBe('')
    expect(await ask('/', { headers: { 'if-none-match': etag } })).toMatchObject({ status: 304, body: '' })
  })

  test('I9: nothing outside of the site and no hidden file is served, however it is asked for', async () => {
    for (const path of [
      '/.env',
      '/.git/config',
      '/../secret.txt',
      '/%2e%2e/secret.txt',
      '/..%2fsecret.txt',
      '/docs/..%2f..%2fsecret.txt',
      '/%00',
    ]) {
      const { status, body } = await ask(path)
      expect(body, path).not.toMatch(/TOKEN|private|not served/)
      expect(status, path).toBeGreaterThanOrEqual(400)
    }
    expect(await ask('/.well-known/security.txt')).toMatchObject({ status: 200, body: 'Contact: ada' })
  })

  test('it is healthy, and refuses to be written to', async () => {
    expect(await ask('/healthz')).toMatchObject({ status: 200 })
    expect(await ask('/', { method: 'POST', body: 'x' })).toMatchObject({ status: 405 })
  })

  test('it finishes when it is stopped', async () => {
    const [instance] = await harness.runtime.list()
    if (instance === undefined) throw new Error('there should be an instance')
    expect((await harness.runtime.stop(instance.id, { timeoutMs: 20_000 }, 1)).killed).toBe(false)
    await eventually(async () => expect(await harness.runtime.inspect(instance.id)).toMatchObject({ exitCode: 0, stopped: true }))
  })
})
