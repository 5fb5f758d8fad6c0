import { CHANNEL, type Notice, parseNotice } from '../store/channels.ts'
import type { Database } from '../store/database.ts'

export interface Notices {
  subscribe(listener: (notice: Notice | null) => void): () => void
  close(): Promise<void>
}

/** The one LISTEN of a server, handed to all who want to hear. */
export async function openNotices(database: Database, first: (payload: string | null) => void): Promise<Notices> {
  const listeners = new Set<(notice: Notice | null) => void>()
  const close = await database.listen(CHANNEL, (payload) => {
    first(payload)
    const notice = payload === null ? null : parseNotice(payload)
    for (const listener of listeners) listener(notice)
  })
  return {
    subscribe: (listener) => {
      listeners.add(listener)
      return () => listeners.delete(listener)
    },
    close,
  }
}
