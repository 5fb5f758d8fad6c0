import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { findEngine, parseEngineAddress } from './engine-address.ts'

test('sockets and tcp addresses are read, other forms are refused in words', () => {
  expect(parseEngineAddress('unix:///var/run/docker.sock')).toMatchObject({ kind: 'unix', path: '/var/run/docker.sock' })
  expect(parseEngineAddress('/run/podman/podman.sock')).toMatchObject({ kind: 'unix', text: 'unix:///run/podman/podman.sock' })
  expect(parseEngineAddress('tcp://10.0.0.1')).toMatchObject({ kind: 'tcp', origin: 'http://10.0.0.1:2375' })
  expect(parseEngineAddress('tcp://[::1]:99')).toMatchObject({ origin: 'http://[::1]:99' })
  expect(parseEngineAddress('ssh://host')).toMatchObject({ problem: expect.stringContaining('ssh -L') })
  for (const bad of ['', 'docker.sock', 'tcp://', 'tcp://a:b@host', 'tcp://host/path', 'npipe:////./pipe/x', '/a\0b'])
    expect(parseEngineAddress(bad), bad).toHaveProperty('problem')
})

test('the first candidate that can have an engine is taken: a socket must exist', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-engine-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  const socket = join(directory, 'sock')
  const server = createServer().listen(socket)
  onTestFinished(() => void server.close())
  await new Promise((resolve) => server.once('listening', resolve))
  expect(findEngine([join(directory, 'nothing'), directory, socket, 'tcp://h:1'])).toMatchObject({ path: socket })
  expect(findEngine([join(directory, 'nothing')])).toBeNull()
  expect(findEngine(['nonsense', 'tcp://h:1'])).toMatchObject({ origin: 'http://h:1' })
})
