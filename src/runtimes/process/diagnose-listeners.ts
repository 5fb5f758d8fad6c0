import { listenersOf } from './listening-ports.ts'

/** Compares where an instance's processes listen with where they were told to; sentences for people, none when all is well. */
export function diagnoseListeners(port: number, pids: readonly number[]): readonly string[] {
  const found = listenersOf(pids)
  if (found.length === 0) return [`listens on no port; it was given PORT ${port}`]
  const there = found.filter((listener) => listener.port === port)
  if (there.some((listener) => REACHED.has(listener.host))) return []
  const where = found.map((listener) => `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`).join(', ')
  if (there.length > 0) return [`listens on ${where}, which can't be reached at 127.0.0.1; listen on 0.0.0.0 or 127.0.0.1`]
  return [`listens on ${where}, not on the PORT ${port} that it was given`]
}

/** A socket on `::` takes IPv4 connections too, unless the app asked it not to. */
const REACHED = new Set(['127.0.0.1', '0.0.0.0', '::'])
