import { listenersOf, takesLoopback } from './listening-ports.ts'

/** Compares where an instance's processes listen with where they were told to; sentences for people, none when all is well. */
export function diagnoseListeners(port: number, pids: readonly number[]): readonly string[] {
  const found = listenersOf(pids)
  if (found.length === 0) return [`listens on no port; it was given PORT ${port}`]
  if (found.some((listener) => takesLoopback(listener, port))) return []
  const where = found.map((listener) => `${listener.host.includes(':') ? `[${listener.host}]` : listener.host}:${listener.port}`).join(', ')
  if (found.some((listener) => listener.port === port))
    return [`listens on ${where}, which can't be reached; listen on 0.0.0.0 or 127.0.0.1`]
  return [`listens on ${where}, not on the PORT ${port} that it was given`]
}
