import { ShiplockError } from '../core/errors.ts'
import { formatBytes } from '../domain/format-bytes.ts'

export interface UploadBudgetParts {
  /** Of one project: what is kept and what is on its way in. */
  readonly maxBytes: number
  readonly keptBytes: (project: string) => Promise<number>
  /** Why nothing more may be written now; null = there is room. */
  readonly whyFull: () => Promise<string | null>
}

interface Account {
  keptBytes: number
  arrivingBytes: number
  open: number
}

/** So often the volume is asked while a body arrives. */
const LOOK_BYTES = 4 * 1024 ** 2

/** Holds the uploads of a project to their budget while they arrive, however many come at once (I13). */
export class UploadBudget {
  readonly #parts: UploadBudgetParts
  readonly #accounts = new Map<string, Promise<Account>>()

  constructor(parts: UploadBudgetParts) {
    this.#parts = parts
  }

  /** The body, cut off with an error once it is too much. */
  async *meter(project: string, body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    const opening = this.#accounts.get(project) ?? this.#opened(project)
    this.#accounts.set(project, opening)
    const account = await opening.catch((error: unknown) => {
      this.#accounts.delete(project)
      throw error
    })
    account.open += 1
    let bytes = 0
    try {
      await this.#assertRoom()
      let looked = 0
      for await (const chunk of body) {
        bytes += chunk.length
        account.arrivingBytes += chunk.length
        this.#assertWithin(project, account)
        if (bytes - looked >= LOOK_BYTES) {
          looked = bytes
          await this.#assertRoom()
        }
        yield chunk
      }
      account.keptBytes += bytes
    } finally {
      account.arrivingBytes -= bytes
      account.open -= 1
      // Read anew next time: what became old and went counts no more.
      if (account.open === 0) this.#accounts.delete(project)
    }
  }

  async #opened(project: string): Promise<Account> {
    return { keptBytes: await this.#parts.keptBytes(project), arrivingBytes: 0, open: 0 }
  }

  #assertWithin(project: string, { keptBytes, arrivingBytes }: Account): void {
    const { maxBytes } = this.#parts
    if (keptBytes + arrivingBytes <= maxBytes) return
    const kept = keptBytes === 0 ? '' : `; ${formatBytes(keptBytes)} are kept`
    throw new ShiplockError('DISK_LIMIT', `uploads of project ${project} may take ${formatBytes(maxBytes)} on this server${kept}`, {
      hint: 'Uploads go a day after they came. Send less (.deployignore), or ask for a larger SHIPLOCK_PROJECT_UPLOAD_MB.',
      details: { maxBytes, keptBytes },
    })
  }

  async #assertRoom(): Promise<void> {
    const reason = await this.#parts.whyFull()
    if (reason !== null) throw new ShiplockError('DISK_FULL', `no upload is taken while ${reason}`)
  }
}
