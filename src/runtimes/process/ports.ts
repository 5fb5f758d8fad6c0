import { randomInt } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { allPids, processStat } from '../../core/process-identity.ts'
import type { InstanceId } from '../../domain/ids.ts'
import { holderOf } from './listening-ports.ts'

const LOWEST = 20_000
const HIGHEST = 65_535
const TRIES = 500

/**
 * Loopback ports for instances. One file per port, made exclusively, says which instance has it, so that two starts at the same time and a
 * start after a crash never give one port twice. Ports of the kernel's ephemeral range are avoided: an outgoing connection may take one
 * of those at any moment between our look and the app's listen.
 */
export class PortBook {
  readonly #directory: string

  constructor(directory: string) {
    this.#directory = directory
  }

  /** A free port for the instance, the one it had before where that is still free. */
  async reserve(id: InstanceId, before: number | null): Promise<number> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    if (before !== null && (await this.#take(before, id)) && (await isFree(before))) return before
    const [ephemeralFrom, ephemeralTo] = ephemeralRange()
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const port = randomInt(LOWEST, HIGHEST + 1)
      if (port >= ephemeralFrom && port <= ephemeralTo && attempt < TRIES / 2) continue
      if (!(await this.#take(port, id))) continue
      if (await isFree(port)) return port
      await this.release(port, id)
    }
    throw new ShiplockError('LAUNCH_FAILED', `no free port was found in ${TRIES} tries`)
  }

  /** Takes a port that the configuration names. @throws LAUNCH_FAILED naming who has it. */
  async reserveFixed(id: InstanceId, port: number, ownerOf: (pid: number) => string | null): Promise<number> {
    await mkdir(this.#directory, { recursive: true, mode: 0o700 })
    const taken = await this.#take(port, id)
    if (taken && (await isFree(port))) return port
    if (taken) await this.release(port, id)
    const reservedBy = taken ? null : await this.ownerOf(port)
    const pid = holderOf(port, allPids())
    const holder = (pid === null ? null : ownerOf(pid)) ?? (reservedBy === null ? describe(pid) : `instance ${reservedBy}`)
    throw new ShiplockError('LAUNCH_FAILED', `port ${port} is already in use by ${holder}`, {
      hint: 'Instances of the process runtime share the ports of this host: listen on the port in PORT and leave run.port out, or free the port.',
      details: { port, pid },
    })
  }

  async releaseAll(id: InstanceId): Promise<void> {
    for (const port of await readdir(this.#directory).catch(() => [])) await this.release(Number(port), id)
  }

  async release(port: number, id: InstanceId): Promise<void> {
    if ((await this.ownerOf(port)) === id) await rm(join(this.#directory, String(port)), { force: true })
  }

  async ownerOf(port: number): Promise<string | null> {
    try {
      return (await readFile(join(this.#directory, String(port)), 'utf8')).trim()
    } catch {
      return null
    }
  }

  /** Frees what instances hold that are not there any more (a crash between reserving and recording). */
  async sweep(exists: (id: string) => boolean): Promise<void> {
    for (const port of await readdir(this.#directory).catch(() => [])) {
      const owner = await this.ownerOf(Number(port))
      if (owner === null || !exists(owner)) await rm(join(this.#directory, port), { force: true })
    }
  }

  async #take(port: number, id: InstanceId): Promise<boolean> {
    try {
      await writeFile(join(this.#directory, String(port)), id, { flag: 'wx', mode: 0o600 })
      return true
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
      return (await this.ownerOf(port)) === id
    }
  }
}

/** Whether nobody listens there, on any IPv4 address. */
export async function isFree(port: number): Promise<boolean> {
  return (await canListen(port, '127.0.0.1')) && (await canListen(port, '0.0.0.0'))
}

function canListen(port: number, host: string): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)))
  })
}

function ephemeralRange(): readonly [number, number] {
  try {
    const [from, to] = readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'latin1').trim().split(/\s+/).map(Number)
    return [from ?? 32_768, to ?? 60_999]
  } catch {
    return [32_768, 60_999]
  }
}

function describe(pid: number | null): string {
  if (pid === null) return 'another program'
  return `${processStat(pid)?.command ?? 'a process'} (pid ${pid})`
}
