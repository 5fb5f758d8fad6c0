/** The one NOTIFY channel. Payload: a JSON `Notice`. Notices are hints; whoever misses one finds the same by looking (queue poll, heartbeat). */
export const CHANNEL = 'shiplock'

export type Notice =
  /** A deployment is pending: workers look for work. */
  | { readonly kind: 'queued' }
  /** Events were committed up to this number. */
  | { readonly kind: 'events'; readonly sequence: number; readonly deploymentId: string | null }
  /** Log lines were committed for this deployment. */
  | { readonly kind: 'log'; readonly deploymentId: string }
  /** A cancel was asked for: the worker that has it stops. */
  | { readonly kind: 'cancel'; readonly deploymentId: string }
  /** A webhook's delivery was stored and waits to be decided. */
  | { readonly kind: 'delivery' }
  /** A service or environment is on its way out. */
  | { readonly kind: 'removal' }

export function parseNotice(payload: string): Notice | null {
  try {
    return JSON.parse(payload) as Notice
  } catch {
    return null
  }
}
