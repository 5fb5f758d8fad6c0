import type { WorkerTraffic } from './switchboard.ts'

type TargetTraffic = WorkerTraffic['targets'][number]

/** Adds up what the workers counted for a route. Parts of another generation are from before or after this one and don't count. */
export function addTraffic(generation: number, parts: readonly WorkerTraffic[]): WorkerTraffic {
  const present = parts.filter((part) => part.generation === generation)
  const targets = new Map<string, TargetTraffic>()
  for (const target of present.flatMap((part) => part.targets)) {
    const known = targets.get(target.instanceId)
    targets.set(target.instanceId, known === undefined ? target : addTargets(known, target))
  }
  return {
    generation,
    requests: sum(present, (part) => part.requests),
    serverErrors: sum(present, (part) => part.serverErrors),
    failures: sum(present, (part) => part.failures),
    longestStallMs: present.reduce((most, part) => Math.max(most, part.longestStallMs), 0),
    targets: [...targets.values()],
  }
}

function addTargets(left: TargetTraffic, right: TargetTraffic): TargetTraffic {
  return {
    instanceId: left.instanceId,
    inFlight: left.inFlight + right.inFlight,
    requests: left.requests + right.requests,
    serverErrors: left.serverErrors + right.serverErrors,
    failures: left.failures + right.failures,
  }
}

function sum(parts: readonly WorkerTraffic[], of: (part: WorkerTraffic) => number): number {
  return parts.reduce((total, part) => total + of(part), 0)
}
