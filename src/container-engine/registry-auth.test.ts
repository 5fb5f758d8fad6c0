import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { type ImageReference, parseImageReference } from '../domain/image-reference.ts'
import { createImageCredentials } from './image-credentials.ts'
import { cliConfig, engineAuthHeader, parseRegistryAuths } from './registry-auth.ts'

const pair = (text: string) => Buffer.from(text).toString('base64')

describe('credentials in the form of docker login', () => {
  test('user and password, their pair, and identity tokens are read; Docker Hub under any of its names', () => {
    const auths = parseRegistryAuths(
      JSON.stringify({
        auths: {
          'ghcr.io': { username: 'a', password: 'b:c' },
          'https://index.docker.io/v1/': { auth: pair('hub:secret') },
          'r.example.com:5000': { identitytoken: 'token' },
        },
      }),
      'it',
    )
    expect(auths.get('ghcr.io')).toEqual({ username: 'a', password: 'b:c' })
    expect(auths.get('docker.io')).toEqual({ username: 'hub', password: 'secret' })
    expect(auths.get('r.example.com:5000')).toEqual({ identityToken: 'token' })
    expect(parseRegistryAuths(cliConfig(auths), 'it')).toEqual(auths)
    const header = JSON.parse(Buffer.from(engineAuthHeader(auths.get('docker.io') ?? null, 'docker.io'), 'base64url').toString())
    expect(header).toEqual({ username: 'hub', password: 'secret', serveraddress: 'https://index.docker.io/v1/' })
  })

  test.for(['', 'p4ssw0rd', '[]', '{}', '{"auths":[]}', '{"auths":{"a b":{"auth":"eDp5"}}}', '{"auths":{"ghcr.io":{"auth":"p4ssw0rd"}}}'])(
    'I8: %j is refused without being repeated',
    (text) => {
      expect(() => parseRegistryAuths(text, 'REGISTRY_AUTH')).toThrow(/^REGISTRY_AUTH (?!.*p4ssw0rd)/)
    },
  )
})

describe('who a project is to a registry', () => {
  const image = (text: string) => parseImageReference(text) as ImageReference
  const server = { username: 'server', password: 'x' }
  const own = { REGISTRY_AUTH: JSON.stringify({ auths: { 'ghcr.io': { auth: pair('own:y') } } }) }

  function credentials() {
    const directory = mkdtempSync(join(tmpdir(), 'shiplock-auth-'))
    onTestFinished(() => rmSync(directory, { recursive: true }))
    const file = join(directory, 'auth.json')
    const auths = { 'ghcr.io': { auth: pair('shared:z') }, 'r.example.com': { auth: pair('shared:z') } }
    writeFileSync(file, JSON.stringify({ auths }), { mode: 0o600 })
    return { file, all: createImageCredentials({ file, publish: { host: 'r.example.com', path: 'apps', auth: server } }) }
  }

  test('its own credentials win over those of the server', async () => {
    const { all } = credentials()
    expect(await all.find(image('ghcr.io/a/b'), { project: 'p', variables: own })).toEqual({ username: 'own', password: 'y' })
    expect(await all.find(image('ghcr.io/a/b'), { project: 'p', variables: {} })).toEqual({ username: 'shared', password: 'z' })
    expect(await all.find(image('quay.io/a/b'), { project: 'p', variables: own })).toBeNull()
  })

  test('I10: what opens the images that the server publishes is for the project’s own only', async () => {
    const { all } = credentials()
    const find = (name: string) => all.find(image(name), { project: 'p', variables: {} })
    expect(await find('r.example.com/apps/p/web')).toEqual(server)
    for (const name of ['r.example.com/apps/q/web', 'r.example.com/apps/pp/web', 'r.example.com/p/web'])
      expect(await find(name), name).toBeNull()
  })

  test('a file that others may read is not used', async () => {
    const { file, all } = credentials()
    chmodSync(file, 0o644)
    await expect(all.find(image('ghcr.io/a/b'), { project: 'p', variables: {} })).rejects.toThrow(/readable by others/)
  })
})
