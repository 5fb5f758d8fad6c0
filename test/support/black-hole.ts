import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'

/**
 * An address that neither accepts nor refuses, like that of a container which is gone: a listener that is stopped, its queue full, so that
 * the kernel drops every further SYN.
 */
export interface BlackHole {
  readonly port: number
  /** Accepts from now on: whoever still tries gets through with the next SYN, within seconds. Answers every request with 200 `late`. */
  wake(): void
  close(): Promise<void>
}

const PROGRAM = `
const answer = 'HTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\n\\r\\nlate'
const server = require('net').createServer((socket) => socket.on('error', () => {}).on('data', () => socket.write(answer)))
server.listen({ port: 0, host: '127.0.0.1', backlog: 0 }, () => console.log(server.address().port))
`
/** How long a connection may take that the kernel completes by itself. */
const FULL_AFTER_MS = 500

export async function startBlackHole(): Promise<BlackHole> {
  const child = spawn(process.execPath, ['-e', PROGRAM], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(child.stdout, 'data')) as [Buffer]
  const port = Number(line.toString())
  child.kill('SIGSTOP')
  const fillers: Socket[] = []
  let isFull = false
  while (!isFull) {
    const filler = connect({ port, host: '127.0.0.1' })
    filler.on('error', () => {})
    isFull = await Promise.race([
      once(filler, 'connect').then(() => false),
      new Promise<boolean>((resolve) => setTimeout(() => resolve(true), FULL_AFTER_MS)),
    ])
    if (isFull) filler.destroy()
    else fillers.push(filler)
  }
  return {
    port,
    wake: () => void child.kill('SIGCONT'),
    close: async () => {
      for (const filler of fillers) filler.destroy()
      await end(child)
    },
  }
}

async function end(child: ChildProcess): Promise<void> {
  const ended = once(child, 'exit')
  child.kill('SIGKILL')
  await ended
}
