import { copyFileSync, mkdtempSync, readFileSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import type { Deployment } from '../../src/contract/deployment.ts'
import { removeTree } from '../../src/core/remove-tree.ts'
import { LABEL } from '../../src/runtimes/docker/container-labels.ts'
import { importBaseImage } from '../support/base-images.ts'
import { dockerdMissing, sharedDockerd, type TestDockerd } from '../support/dockerd.ts'
import { GitRepo } from '../support/git-repo.ts'
import { disposeServers, startTestServer, type TestServer } from '../support/server.ts'
import { TrivyStandIn } from '../support/trivy.ts'

const missing = dockerdMissing()
/** Of this file only: the engine is shared. */
const SERVICE = 'scanned'
const APP = join(import.meta.dirname, '../support/apps/server.mjs')

// A real engine, a real Dockerfile, and a stand-in for Trivy that asks the engine for the image, as Trivy does.
describe.skipIf(missing !== null)(`images and the scan${missing === null ? '' : ` (${missing})`}`, () => {
  let dockerd: TestDockerd
  let trivy: TrivyStandIn
  let server: TestServer
  let directory: string
  let repo: GitRepo
  let base: string

  beforeAll(async () => {
    dockerd = await sharedDockerd()
    base = await importBaseImage(dockerd, 'node')
    trivy = new TrivyStandIn()
    directory = mkdtempSync('/tmp/sl-scan-images-')
    repo = new GitRepo(join(directory, 'app'))
    server = await startTestServer({
      env: {
        PATH: `/usr/bin:${process.env.PATH}`,
        SHIPLOCK_TRIVY: join(trivy.directory, 'installed'),
        SHIPLOCK_CONTAINER_ENGINE: dockerd.host,
        SHIPLOCK_CONTAINER_ADDRESS: 'container',
      },
    })
  }, 180_000)
  afterAll(async () => {
    await disposeServers()
    await removeContainers()
    trivy?.remove()
    if (directory !== undefined) await removeTree(directory)
  }, 120_000)

  /** Instances outlive their server, and their network them. */
  async function removeContainers(): Promise<void> {
    const lines = async (...args: string[]) => (await dockerd.dockerText(...args)).split('\n').filter((line) => line !== '')
    const containers = await lines('ps', '--all', '--quiet', '--filter', `label=${LABEL.title}=default/production/${SERVICE}`)
    if (containers.length === 0) return
    const [owner] = await lines('inspect', '--format', `{{index .Config.Labels "${LABEL.owner}"}}`, ...containers)
    await dockerd.dockerText('rm', '--force', ...containers)
    const networks = await lines('network', 'ls', '--quiet', '--filter', `label=${LABEL.owner}=${owner}`)
    if (networks.length > 0) await dockerd.dockerText('network', 'rm', ...networks)
  }

  async function attempt(version: string, scan?: Readonly<Record<string, unknown>>): Promise<Deployment> {
    copyFileSync(APP, join(repo.directory, 'server.mjs'))
    const service = {
      build: { dockerfile: 'Dockerfile' },
      run: { port: 8080, env: { VERSION: version, HOST: '0.0.0.0' } },
      deploy: { bake: 0 },
      ...(scan === undefined ? {} : { scan }),
    }
    repo.commit(version, {
      Dockerfile: `FROM ${base}\nWORKDIR /app\nCOPY . .\nEXPOSE 8080\nCMD ["node", "server.mjs"]\n`,
      'shiplock.yaml': stringify({ services: { [SERVICE]: service } }),
      version,
    })
    const source = { kind: 'git', url: `file://${repo.directory}`, ref: null }
    const { id } = await server.deploy({ service: SERVICE, source })
    return server.settled(id, 120_000)
  }

  test('without Trivy an image is refused before its build, with what to do', async () => {
    const { status, stage, error } = await attempt('v0')
    expect({ status, stage }).toEqual({ status: 'failed', stage: 'build' })
    expect(error).toMatchObject({
      code: 'SCANNER_FAILED',
      message: expect.stringMatching(/^not scanned: there is no program at .*; an image is not deployed without a scan$/),
      hint: expect.stringContaining('scan: { onScannerFailure: warn }'),
    })
    renameSync(trivy.program, join(trivy.directory, 'installed'))
  }, 180_000)

  test('I1: what is scanned is what would run, by its id; a CRITICAL stops it and what is live serves on', async () => {
    trivy.plan({ asksEngine: true, reports: { image: 'clean' } })
    const first = await attempt('v1')
    expect(first.error).toBeNull()
    const [call] = trivy.scans()
    expect(call?.args).toEqual(expect.arrayContaining(['--image-src', 'docker', '--cache-backend', 'fs']))
    const { items } = await server.call('GET', `/v1/services/${SERVICE}/releases`)
    expect(call?.args.at(-1)).toBe(items[0].artifact.digest)

    trivy.plan({ asksEngine: true })
    const second = await attempt('v2')
    expect(second).toMatchObject({ status: 'failed', stage: 'scan', scan: { outcome: 'blocked', critical: 2, high: 1 } })
    expect(second.error).toMatchObject({ code: 'SCAN_BLOCKED', message: expect.stringContaining('minimist 1.2.5 (fixed in 1.2.6, 0.2.4)') })
    expect((await server.service(SERVICE)).live?.release).toBe(1)
  }, 300_000)

  test('a rollback to an image with a CRITICAL is allowed with a warning, on the record', async () => {
    expect((await attempt('v2', { critical: 'warn' })).status).toBe('running')
    trivy.plan({ asksEngine: true, reports: { image: 'clean' } })
    expect((await attempt('v3')).status).toBe('running')
    const { id } = await server.rollback({ service: SERVICE, release: 2 })
    const back = await server.settled(id, 120_000)
    expect(back).toMatchObject({ status: 'running', scan: { outcome: 'warned', critical: 2 } })
    expect(back.warnings).toEqual([
      expect.stringMatching(/^scan: v2, to which this goes back, has 2 CRITICAL: CVE-2021-44906 .* allowed all the same$/),
    ])
    const told = (await server.events(id)).find((event) => event.type === 'deployment.warning')
    expect(told?.message).toBe(back.warnings[0])
  }, 300_000)

  test('the server says no secret and no rubbish in its log', () => {
    expect(readFileSync(server.logFile, 'utf8')).not.toMatch(/unexpectedly/)
  })
})
