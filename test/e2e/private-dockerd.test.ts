import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { importBaseImage } from '../support/base-images.ts'
import { dockerdMissing, privateDockerd, type TestDockerd } from '../support/dockerd.ts'
import { eventually } from '../support/eventually.ts'

const missing = dockerdMissing()

describe.skipIf(missing !== null)(`a private dockerd${missing === null ? '' : ` (${missing})`}`, () => {
  let dockerd: TestDockerd
  beforeAll(async () => {
    dockerd = await privateDockerd({ args: ['--live-restore'] })
  })
  afterAll(() => dockerd?.remove())

  test('runs Node in a container that the host reaches by its address', async () => {
    const image = await importBaseImage(dockerd, 'node')
    const program = 'require("http").createServer((q, s) => s.end("hello from inside")).listen(8080)'
    const id = await dockerd.dockerText('run', '-d', image, 'node', '-e', program)
    const address = await dockerd.dockerText('inspect', '-f', '{{.NetworkSettings.IPAddress}}', id)
    const answer = await eventually(() => fetch(`http://${address}:8080/`).then((response) => response.text()))
    expect(answer).toBe('hello from inside')
    await dockerd.kill()
    expect(await fetch(`http://${address}:8080/`).then((response) => response.status)).toBe(200)
    await dockerd.start()
    expect(await dockerd.dockerText('inspect', '-f', '{{.State.Status}}', id)).toBe('running')
  })

  test('leaves nothing behind, even when a container runs and the daemon was killed', async () => {
    const other = await privateDockerd()
    const image = await importBaseImage(other, 'busybox')
    await other.dockerText('run', '-d', image, 'sleep', '600')
    await other.kill()
    await other.remove()
    const { number, namespace, hostInterface } = other.network
    expect(existsSync(other.directory)).toBe(false)
    expect(existsSync(`/run/netns/${namespace}`)).toBe(false)
    expect(existsSync(`/sys/class/net/${hostInterface}`)).toBe(false)
    expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(other.directory)
    const groups = ['/sys/fs/cgroup', ...readdirSync('/sys/fs/cgroup').map((name) => join('/sys/fs/cgroup', name))]
    expect(groups.filter((group) => existsSync(join(group, `shiplock-test-${number}`)))).toEqual([])
  })
})
