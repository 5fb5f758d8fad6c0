import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { open, readFile, realpath, rm, stat } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ShiplockError } from './errors.ts'

export interface DirectoryLock {
  /** May be called twice. The end of the process releases it too, however it ends. */
  release(): Promise<void>
}

const HOLDER_ANSWER_MS = 1000

/**
 * Takes `directory` (which exists) for this process alone; a second opener, under whatever path, is refused with the holder's pid.
 * On Linux the lock is an abstract socket, which the kernel drops with the process: nothing stale can stay. It holds within one network
 * namespace: containers that share a directory but not the network do not see each other.
 */
export async function acquireDirectoryLock(directory: string, purpose = 'server'): Promise<DirectoryLock> {
  const path = await realpath(directory)
  if (process.platform !== 'linux') return acquireLockFile(path, purpose)
  const { dev, ino } = await stat(path)
  const name = `\0shiplock-${purpose}-${createHash('sha256').update(`${dev}:${ino}`).digest('hex').slice(0, 32)}`
  // A holder that ends between the refusal and the question leaves the name free: the second attempt gets it.
  for (let attempt = 1; ; attempt++) {
    const server = await bind(name)
    if (server !== null) return { release: () => closed(server) }
    const holder = await askHolder(name)
    if (holder !== null || attempt === 3) throw locked(path, purpose, holder)
  }
}

async function bind(name: string): Promise<Server | null> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    socket.end(`${process.pid}\n`)
  })
  const isBound = await new Promise<boolean>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => (error.code === 'EADDRINUSE' ? resolve(false) : reject(error)))
    server.listen({ path: name, exclusive: true }, () => resolve(true))
  })
  if (!isBound) return null
  server.on('error', () => {})
  server.unref()
  return server
}

function closed(server: Server): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()))
}

/** The holder's pid; null when nobody holds it (any more), NaN when it does not say. */
function askHolder(name: string): Promise<number | null> {
  return new Promise((resolve) => {
    const socket = connect({ path: name })
    let answer = ''
    const finish = (pid: number | null) => {
      socket.destroy()
      resolve(pid)
    }
    socket.setTimeout(HOLDER_ANSWER_MS, () => finish(Number.NaN))
    socket.on('data', (chunk) => {
      answer = (answer + chunk.toString('latin1')).slice(0, 32)
    })
    socket.on('end', () => finish(Number.parseInt(answer, 10)))
    socket.on('error', (error: NodeJS.ErrnoException) => finish(error.code === 'ECONNREFUSED' ? null : Number.NaN))
  })
}

function locked(path: string, purpose: string, holder: number | null): ShiplockError {
  const pid = holder === null || Number.isNaN(holder) ? null : holder
  return new ShiplockError('DATA_DIRECTORY_LOCKED', `${path} is in use by ${pid === null ? 'another process' : `process ${pid}`}`, {
    details: { path, purpose, pid },
  })
}

/** Where there are no abstract sockets: a file with pid and start time, which a holder that died leaves behind and the next one takes over. */
async function acquireLockFile(path: string, purpose: string): Promise<DirectoryLock> {
  const file = join(path, `${purpose}.lock`)
  for (let attempt = 1; ; attempt++) {
    try {
      const handle = await open(file, 'wx', 0o600)
      await handle.writeFile(`${process.pid}\n${await startedAt(process.pid)}\n`)
      await handle.close()
      return { release: () => rm(file, { force: true }) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      const [pid = '', started = ''] = (await readFile(file, 'utf8').catch(() => '')).split('\n')
      const isHeld = pid !== '' && started !== '' && (await startedAt(Number(pid))) === started
      if (isHeld || attempt === 3) throw locked(path, purpose, Number(pid))
      await rm(file, { force: true })
    }
  }
}

/** As `ps` prints it; empty for a process that does not exist. */
async function startedAt(pid: number): Promise<string> {
  const result = await promisify(execFile)('ps', ['-o', 'lstart=', '-p', String(pid)]).catch(() => ({ stdout: '' }))
  return result.stdout.trim()
}
