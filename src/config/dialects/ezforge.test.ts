import { describe, expect, it } from 'vitest'
import type { ShiplockError } from '../../core/errors.ts'
import { buildService } from '../build-service.ts'
import { ezforgeDialect } from './ezforge.ts'

function parse(text: string) {
  const service = ezforgeDialect.parse(text, 'ezforge.toml').services[0]
  if (service === undefined) throw new Error('no service')
  return service
}

const config = (text: string) => buildService(parse(text).name, parse(text).input, () => '').config

function message(text: string): string {
  try {
    parse(text)
  } catch (error) {
    return (error as ShiplockError).message
  }
  throw new Error('was not refused')
}

const FULL = `
[server]
name = "weather"
cpu = "shared-2x"
memoryMb = 1024
region = "iad"
port = 3000
healthCheckPath = "/ready"
healthCheckTimeout = 45
rollbackOnHealthCheckFailure = false
deploymentRetentionCount = 3
dockerfile = "deploy/Dockerfile"

[env]
LOG = "debug"
`

describe('ezforge.toml is read as it is', () => {
  it('carries every key over', () => {
    expect(config(FULL)).toMatchObject({
      name: 'weather',
      build: { kind: 'dockerfile', dockerfile: 'deploy/Dockerfile' },
      run: { cpu: 'shared-2x', memoryMb: 1024, regions: ['iad'], port: 3000, env: { LOG: 'debug' } },
      deploy: {
        readinessCheck: { probe: { kind: 'httpGet', path: '/ready', expectStatus: 200 }, failureTimeoutMs: 45_000 },
        autoRollback: false,
        bakeMs: 0,
      },
      retention: 3,
    })
  })

  it('has the defaults of that platform where they differ', () => {
    expect(config('name = "a"')).toMatchObject({
      build: { kind: 'dockerfile', dockerfile: 'Dockerfile' },
      run: { memoryMb: 256, cpu: 'shared-1x' },
      scan: { high: 'warn', critical: 'block' },
      deploy: {
        readinessCheck: { probe: { path: '/healthz', expectStatus: 200 }, failureTimeoutMs: 30_000 },
        bakeMs: 0,
        standbyMs: 3_600_000,
        autoRollback: true,
      },
      retention: 10,
    })
  })

  it('deploys an image', () => {
    expect(config('name = "a"\nimage = "ghcr.io/acme/a:1"').build).toEqual({ kind: 'image', reference: 'ghcr.io/acme/a:1' })
  })

  it('knows the place of what stands in the file, and what is a default of the format', () => {
    const service = parse(FULL)
    expect(service.locate('run.memoryMb')?.line).toBe(5)
    expect(service.locate('run.env.LOG')?.line).toBe(15)
    expect(service.locate('deploy.bake')).toBeNull()
  })

  it.each([
    ['name = "a"\nmemoryMB = 5', 'ezforge.toml:2:1: memoryMB is an unknown key, did you mean memoryMb?'],
    ['[server]\nname = "a"\ncpu = "big"', 'ezforge.toml:3:1: server.cpu must be one of shared-1x'],
    ['name = "A B"', 'ezforge.toml:1:1: name is no service name'],
    ['cpu = "shared-1x"', 'name must be the name of the server'],
    ['name = "a"\nimage = "b"\ndockerfile = "c"', "can't stand beside build.image"],
    ['name = "a"\nhealthCheckPath = "nope"', 'must begin with /'],
    ['name = "a"\nhealthCheckTimeout = "long"', 'must be a duration'],
    ['name = "a"\nenv = { PORT = 1 }', 'is set by Shiplock'],
    ['name = "a"\nname = "b"', 'ezforge.toml:2:'],
    ['name = ', 'is no valid TOML'],
    [`a = ${'['.repeat(50_000)}`, 'is no valid TOML'],
  ])('I9: refuses %j', (text, words) => {
    expect(message(text)).toContain(words)
  })
})
