import type { Deployment } from '../contract/deployment.ts'
import type { LogLine } from '../contract/event.ts'
import type { Client } from './client.ts'
import type { PipelineView } from './pipeline-view.ts'

/** `live`: until the new version serves and the old one is drained. `settled`: until its bake has ended too. */
export type FollowUntil = 'live' | 'settled'

export interface FollowOptions {
  readonly client: Client
  readonly view: PipelineView
  readonly until: FollowUntil
  readonly signal: AbortSignal
}

/** The log may go on for a moment after the last event. */
const LOG_GRACE_MS = 2000

/** Watches a deployment through its events and its log; resolves with its state once there is nothing more to wait for, or on abort. */
export async function followDeployment(id: string, { client, view, until, signal }: FollowOptions): Promise<Deployment> {
  const over = new AbortController()
  const both = AbortSignal.any([over.signal, signal])
  let present = await client.call('getDeployment', { params: { id } })
  let isStale = false
  let refreshing: Promise<void> | null = null
  const refreshAll = async () => {
    do {
      isStale = false
      present = await client.call('getDeployment', { params: { id } })
      view.update(present, await waitsFor(client, present))
      if (hasEnded(present, until)) over.abort()
    } while (isStale && !both.aborted)
  }
  const refresh = () => {
    isStale = true
    refreshing ??= refreshAll().finally(() => {
      refreshing = null
    })
    return refreshing
  }
  const onReconnect = once(() => view.note('the server does not answer; trying again'))
  const log = followLog(id, client, view, signal, onReconnect)
  const failed = new Promise<never>((_, reject) => {
    log.done.catch(reject)
  })
  failed.catch(() => {})
  try {
    await Promise.race([refresh(), failed])
    const events = client.stream('listEvents', { query: { deployment: id }, signal: both, onReconnect })
    const watching = (async () => {
      for await (const _ of events) refresh().catch(() => {})
    })()
    await Promise.race([watching, failed])
    if (refreshing !== null) await refreshing
    if (!hasEnded(present, until) && !signal.aborted) await refresh()
    if (present.settled) await Promise.race([log.done, new Promise((resolve) => setTimeout(resolve, LOG_GRACE_MS).unref())])
    return present
  } finally {
    over.abort()
    log.stop()
  }
}

function followLog(id: string, client: Client, view: PipelineView, signal: AbortSignal, onReconnect: () => void) {
  const stopped = new AbortController()
  const read = async () => {
    const frames = client.stream('getDeploymentLogs', { params: { id }, signal: AbortSignal.any([stopped.signal, signal]), onReconnect })
    for await (const frame of frames) if (frame.event === 'line') view.line(frame.data as LogLine)
  }
  return { done: read(), stop: () => stopped.abort() }
}

/** Nothing more to wait for. */
export function hasEnded(deployment: Deployment, until: FollowUntil): boolean {
  if (deployment.settled) return true
  if (until === 'settled') return false
  // It serves from the swap on, with a receipt that the drain completes.
  return deployment.status === 'running' && deployment.stage !== 'swap' && deployment.stage !== 'drain'
}

/** It served: now, or until something newer took its place. */
export function hasServed({ status, startedAt }: Pick<Deployment, 'status' | 'startedAt'>): boolean {
  // One that never began was absorbed in the queue.
  return status === 'running' || (status === 'superseded' && startedAt !== null) || status === 'rolled_back'
}

async function waitsFor(client: Client, deployment: Deployment): Promise<string | null> {
  if (deployment.status !== 'pending') return null
  const queue = await client.call('getQueue')
  return queue.items.find((entry) => entry.id === deployment.id)?.waitsFor ?? null
}

function once(work: () => void): () => void {
  let isDone = false
  return () => {
    if (!isDone) work()
    isDone = true
  }
}
