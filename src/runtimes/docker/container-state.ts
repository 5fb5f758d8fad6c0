import { constants } from 'node:os'
import type { InstanceStatus } from '../runtime.ts'
import { LABEL } from './container-labels.ts'
import type { ContainerRecord } from './container-record.ts'

/** What is used of GET /containers/{id}/json. */
export interface ContainerFacts {
  readonly Id: string
  readonly Created?: string
  readonly State: {
    readonly Status: string
    readonly Running: boolean
    readonly OOMKilled?: boolean
    readonly Pid?: number
    readonly ExitCode: number
    readonly Error?: string
    readonly StartedAt: string
    readonly FinishedAt: string
  }
  readonly Config: { readonly Labels?: Readonly<Record<string, string>> | null; readonly StopSignal?: string }
  readonly NetworkSettings: {
    readonly Ports?: Readonly<Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>> | null
    readonly Networks?: Readonly<Record<string, { readonly IPAddress?: string }>> | null
  }
}

/** Where instances are reached from this host. */
export type Reach = { readonly kind: 'container' } | { readonly kind: 'publish'; readonly bind: string }

export function labelsIn(facts: ContainerFacts): Readonly<Record<string, string>> {
  return facts.Config.Labels ?? {}
}

export function isRunning(facts: ContainerFacts): boolean {
  return facts.State.Running || facts.State.Status === 'running' || facts.State.Status === 'paused'
}

export function neverRan(facts: ContainerFacts): boolean {
  return facts.State.Status === 'created' || facts.State.Status === 'configured'
}

export function statusOf(facts: ContainerFacts, record: ContainerRecord | null): InstanceStatus {
  const { State } = facts
  if (isRunning(facts)) return { state: 'running', address: addressOf(facts), startedAt: new Date(State.StartedAt).toISOString() }
  const stopped = record?.stopAsked ?? false
  if (neverRan(facts)) return { state: 'exited', exitCode: null, signal: null, outOfMemory: false, stopped, exitedAt: null }
  return {
    state: 'exited',
    exitCode: State.ExitCode,
    signal: signalName(State.ExitCode),
    outOfMemory: State.OOMKilled === true && !stopped,
    overDisk: record?.overDisk ?? null,
    stopped,
    exitedAt: State.FinishedAt.startsWith('0001') ? null : new Date(State.FinishedAt).toISOString(),
  }
}

/** Of one whose container is gone: it was ended for what it wrote, or it is missing. */
export function statusWithout(record: ContainerRecord | null): InstanceStatus {
  if (record?.overDisk === undefined) return { state: 'missing' }
  const { overDisk, stopAsked: stopped } = record
  return { state: 'exited', exitCode: null, signal: 'SIGKILL', outOfMemory: false, overDisk, stopped, exitedAt: null }
}

/** A published port where there is one, else the address in the container's network. */
function addressOf(facts: ContainerFacts): { readonly host: string; readonly port: number } {
  const labels = labelsIn(facts)
  const port = Number(labels[LABEL.port] ?? 0)
  const published = facts.NetworkSettings.Ports?.[`${port}/tcp`]?.[0]
  if (published !== undefined) {
    const host = published.HostIp === '' || published.HostIp === '0.0.0.0' ? '127.0.0.1' : published.HostIp
    return { host, port: Number(published.HostPort) }
  }
  const network = facts.NetworkSettings.Networks?.[labels[LABEL.network] ?? '']
  return { host: network?.IPAddress || '127.0.0.1', port }
}

/** A container's init says 128 + n for a command that signal n ended. */
function signalName(code: number): string | null {
  if (code <= 128) return null
  return Object.entries(constants.signals).find(([, number]) => number === code - 128)?.[0] ?? null
}
