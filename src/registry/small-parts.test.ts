import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { engineAuthHeader } from '../container-engine/registry-auth.ts'
import { createCredentialSource } from './credentials.ts'
import { apiHost, parsePublished, parseRegistryPrefix, repositoryBelow } from './image-name.ts'
import { PushProgress } from './push-progress.ts'
import { parseChallenge } from './registry-client.ts'
import { problemOfMessage } from './registry-problem.ts'

const directory = mkdtempSync(join(tmpdir(), 'shiplock-registry-'))
afterAll(() => rmSync(directory, { recursive: true }))

describe('names', () => {
  test('a repository stands below the prefix, per project', () => {
    expect(repositoryBelow(parseRegistryPrefix('reg.example.com:5000/team/apps'), 'shop/api')).toEqual({
      host: 'reg.example.com:5000',
      path: 'team/apps/shop/api',
      name: 'reg.example.com:5000/team/apps/shop/api',
    })
    expect(repositoryBelow(parseRegistryPrefix('localhost:5000'), 'a--b/c')?.name).toBe('localhost:5000/a--b/c')
  })

  test.each(['Shop/api', 'shop//api', 'shop/-api', '../etc', 'shop/api:tag', 'shop/ api', `shop/${'x'.repeat(260)}`])(
    'I9: %s is no repository',
    (repository) => expect(repositoryBelow(parseRegistryPrefix('reg.example.com'), repository)).toBeNull(),
  )

  test('a published reference is taken apart; a tag alone is none', () => {
    const digest = `sha256:${'a'.repeat(64)}`
    expect(parsePublished(`reg.example.com/a/b@${digest}`)).toMatchObject({ host: 'reg.example.com', path: 'a/b', digest })
    expect(parsePublished('reg.example.com/a/b:latest')).toBeNull()
    expect(parsePublished(digest)).toBeNull()
  })

  test('Docker Hub answers elsewhere than at its name', () => {
    expect([apiHost('docker.io'), apiHost('reg.example.com')]).toEqual(['registry-1.docker.io', 'reg.example.com'])
  })
})

describe('credentials', () => {
  const write = (name: string, content: string, mode = 0o600) => {
    const path = join(directory, name)
    writeFileSync(path, content)
    chmodSync(path, mode)
    return createCredentialSource({ username: null, password: null, file: path, host: 'reg.example.com' })
  }

  test('of the settings go to their own host only', async () => {
    const source = createCredentialSource({ username: 'u', password: 'p', file: null, host: 'reg.example.com' })
    expect(await source.find('reg.example.com')).toEqual({ username: 'u', password: 'p' })
    expect(await source.find('evil.example.com')).toBeNull()
  })

  test('are read as docker login writes them', async () => {
    const auth = Buffer.from('me:pass:word').toString('base64')
    const source = write(
      'ok',
      JSON.stringify({ auths: { 'reg.example.com': { auth }, 'https://index.docker.io/v1/': { identitytoken: 'tok' } } }),
    )
    expect(await source.find('reg.example.com')).toEqual({ username: 'me', password: 'pass:word' })
    expect(await source.find('docker.io')).toEqual({ identityToken: 'tok' })
    expect(await source.find('other.example.com')).toBeNull()
  })

  test('I8: a file that others may read is refused, and no content of a broken one is repeated', async () => {
    await expect(write('open', '{}', 0o644).find('reg.example.com')).rejects.toMatchObject({
      code: 'PUBLISH_FAILED',
      message: expect.stringContaining('read by others'),
      hint: expect.stringContaining('chmod 600'),
    })
    const broken = await write('broken', '{"auths": hunter2')
      .find('reg.example.com')
      .catch((error: Error) => error)
    expect(broken).toMatchObject({ code: 'PUBLISH_FAILED' })
    expect((broken as Error).message).not.toContain('hunter2')
  })

  test('a credential helper is named, not run', async () => {
    await expect(write('helper', JSON.stringify({ credsStore: 'desktop' })).find('reg.example.com')).rejects.toThrow(/helpers are not run/)
  })

  test('the header for the engine is URL-safe base64 of JSON', () => {
    const header = engineAuthHeader({ username: 'ü>?', password: '~~~' }, 'reg.example.com')
    expect(header).toMatch(/^[A-Za-z0-9_=-]+$/)
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toEqual({
      username: 'ü>?',
      password: '~~~',
      serveraddress: 'reg.example.com',
    })
  })
})

test('challenges are read; where several ways are offered, the token', () => {
  expect(parseChallenge('Bearer realm="https://auth.example.com/token",service="reg",scope="repository:a/b:pull,push"')).toEqual({
    scheme: 'bearer',
    parameters: { realm: 'https://auth.example.com/token', service: 'reg', scope: 'repository:a/b:pull,push' },
  })
  expect(parseChallenge('Basic realm="x", Bearer realm="https://a/t"')).toMatchObject({ scheme: 'bearer' })
  expect(parseChallenge('Basic realm="x"')).toMatchObject({ scheme: 'basic' })
  expect(parseChallenge('Negotiate')).toBeNull()
})

test.each([
  ['Get "http://10.0.0.1:5000/v2/": dial tcp 10.0.0.1:5000: connect: connection refused', 'passing'],
  ['received unexpected HTTP status: 503 Service Unavailable', 'passing'],
  ['unexpected EOF', 'passing'],
  ['toomanyrequests: You have reached your push rate limit', 'passing'],
  ['no basic auth credentials', 'denied'],
  ['unauthorized: authentication required', 'denied'],
  ['denied: requested access to the resource is denied', 'denied'],
  ['http: server gave HTTP response to HTTPS client', 'refused'],
  ['invalid reference format', 'refused'],
])('%s is %s', (message, kind) => expect(problemOfMessage(message).kind).toBe(kind))

test('a push becomes one line per layer and one digest, however many bars it draws', () => {
  const lines: string[] = []
  const progress = new PushProgress((line) => lines.push(line))
  for (let current = 0; current < 100; current++)
    progress.take({ status: 'Pushing', id: 'abc', progressDetail: { current: current * 2 ** 20 } })
  progress.take({ status: 'Pushed', id: 'abc' })
  progress.take({ status: 'Layer already exists', id: 'def' })
  progress.take({ aux: { Digest: `sha256:${'1'.repeat(64)}`, Size: 1 } })
  for (let layer = 0; layer < 1000; layer++) progress.take({ status: 'Pushed', id: `l${layer}` })
  expect(lines[0]).toBe('layer abc pushed (99.0 MiB)')
  expect(lines.length).toBeLessThanOrEqual(200)
  expect(progress.digest).toBe(`sha256:${'1'.repeat(64)}`)
  expect(progress.error).toBeNull()
  progress.take({ error: 'denied\u001b[31m', errorDetail: { message: 'denied\u001b[31m' } })
  expect(progress.error).toBe('denied')
})
