import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { stopServerProcess } from './server-process.ts'

/** Holds the lock; asked to stop, it is so busy with it that it says nothing any more, and ends after `busyMs`. */
const HOLDER = `
const { createServer } = require('node:net')
const [name, busyMs, isSilent] = process.argv.slice(1)
let isStopping = isSilent === 'true'
const server = createServer((socket) => {
  socket.on('error', () => {})
  if (!isStopping) socket.end(process.pid + '\\n')
})
const stop = () => { isStopping = true; setTimeout(() => process.exit(0), Number(busyMs)) }
for (const signal of ['SIGQUIT', 'SIGTERM']) process.on(signal, stop)
server.listen({ path: '\\0' + name }, () => { process.stdout.write('ready'); if (isStopping) stop() })
`

async function holder(busyMs: number, isSilent: boolean) {
  const directory = mkdtempSync(join(tmpdir(), 'shiplock-stop-'))
  const { dev, ino } = statSync(directory)
  const name = `shiplock-server-${createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32)}`
  const child = spawn(process.execPath, ['-e', HOLDER, name, String(busyMs), String(isSilent)], { stdio: ['ignore', 'pipe', 'inherit'] })
  onTestFinished(() => {
    child.kill('SIGKILL')
    rmSync(directory, { recursive: true })
  })
  await once(child.stdout, 'data')
  return { directory, child }
}

const never = new AbortController().signal

test('a server that says nothing while it stops is waited for, as asked', async () => {
  const { directory, child } = await holder(1500, false)
  expect(await stopServerProcess(directory, true, never)).toBe(true)
  expect(child.exitCode).toBe(0)
})

test('one that somebody else is stopping is waited for, too', async () => {
  const { directory } = await holder(1500, true)
  expect(await stopServerProcess(directory, true, never)).toBe(true)
  expect(await stopServerProcess(directory, true, never)).toBe(false)
})
