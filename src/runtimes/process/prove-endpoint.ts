import { allPids, processStat } from '../../core/process-identity.ts'
import type { EndpointProof } from '../runtime.ts'
import { canLookInto, holderOf, type Listener, listeners, socketInodes, takesLoopback } from './listening-ports.ts'

export interface EndpointFacts {
  readonly port: number
  /** Of the host's network. */
  readonly listeners: readonly Listener[]
  /** Sockets that the instance's processes hold. */
  readonly own: ReadonlySet<string>
  /** Some of its processes can't be looked into. */
  readonly isHidden: boolean
  /** Who holds a socket that is not the instance's; null = nobody who can be looked into. */
  holder(listeners: readonly Listener[]): string | null
}

/**
 * Whose the port is to which requests go, where instances share the host's network. Every socket that may get them must be the instance's
 * own: of two that share a port the kernel gives some to each.
 */
export function judgeEndpoint({ port, ...facts }: EndpointFacts): EndpointProof {
  const there = facts.listeners.filter((listener) => takesLoopback(listener, port))
  if (there.length === 0) return { kind: 'silent' }
  const others = there.filter((listener) => !facts.own.has(listener.inode))
  if (others.length === 0) return { kind: 'own' }
  const holder = facts.holder(others)
  // What hides itself may hold it; nobody else was seen to.
  if (holder === null && facts.isHidden) return { kind: 'own' }
  return { kind: 'foreign', reason: `port ${port} is held by ${holder ?? 'another program'}, not by this instance` }
}

/** `pidsOf` is asked anew for each look: a process that was started between two lists is no stranger. */
export function proveEndpoint(port: number, pidsOf: () => readonly number[], describe: (pid: number) => string | null): EndpointProof {
  let proof: EndpointProof = { kind: 'silent' }
  for (let look = 0; look < LOOKS; look++) {
    const found = listeners()
    const pids = pidsOf()
    const holder = (others: readonly Listener[]) => {
      const pid =
        others.length === 0
          ? null
          : holderOf(
              port,
              allPids().filter((candidate) => !pids.includes(candidate)),
            )
      return pid === null ? null : (describe(pid) ?? `${processStat(pid)?.command ?? 'a process'} (pid ${pid})`)
    }
    const isHidden = pids.some((pid) => !canLookInto(pid))
    proof = judgeEndpoint({ port, listeners: found, own: new Set(pids.flatMap(socketInodes)), isHidden, holder })
    if (proof.kind !== 'foreign') return proof
  }
  return proof
}
const LOOKS = 2
