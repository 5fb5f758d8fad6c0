import { readFile } from 'node:fs/promises'
import type { ContainerEngine } from '../../container-engine/engine.ts'
import { type Listener, parseListeners } from '../process/listening-ports.ts'
import { LABEL } from './container-labels.ts'
import { type ContainerFacts, labelsIn } from './container-state.ts'
import { readInside } from './exec-inside.ts'

const TABLES = ['/proc/net/tcp', '/proc/net/tcp6'] as const
/** The engine's own name server listens there in every container. */
const ENGINE_HOST = '127.0.0.11'

/** Compares where a container listens with where it is expected to; nothing when that can't be seen. */
export async function diagnoseContainer(engine: ContainerEngine, facts: ContainerFacts): Promise<readonly string[]> {
  const port = Number(labelsIn(facts)[LABEL.port] ?? 0)
  const table = (await fromHost(engine, facts)) ?? (await readInside(engine, facts.Id, TABLES))
  if (port === 0 || table === null) return []
  return describeListeners(port, parseListeners(table))
}

export function describeListeners(port: number, all: readonly Listener[]): readonly string[] {
  const found = all.filter((listener) => listener.host !== ENGINE_HOST)
  if (found.length === 0) return [`listens on no port inside the container; PORT is ${port}`]
  const there = found.filter((listener) => listener.port === port)
  if (there.some((listener) => !isLoopback(listener.host))) return []
  const where = [...new Set((there.length > 0 ? there : found).map(text))].join(', ')
  if (there.length > 0) return [`listens on ${where} inside the container, not on all interfaces; listen on 0.0.0.0`]
  return [`listens on ${where} inside the container, not on PORT ${port}; listen there, or set run.port`]
}

function isLoopback(host: string): boolean {
  return host.startsWith('127.') || host === '::1'
}

function text({ host, port }: Listener): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}

/** The container's network namespace, seen through its first process. null when the engine is elsewhere, or that pid is another process here. */
async function fromHost(engine: ContainerEngine, { Id, State }: ContainerFacts): Promise<string | null> {
  if (!engine.isLocal || !State.Pid) return null
  try {
    const groups = await readFile(`/proc/${State.Pid}/cgroup`, 'latin1')
    if (!groups.includes(Id)) return null
    const tables = await Promise.all(
      TABLES.map((file) => readFile(file.replace('/proc/', `/proc/${State.Pid}/`), 'latin1').catch(() => '')),
    )
    return tables.join('\n')
  } catch {
    return null
  }
}
