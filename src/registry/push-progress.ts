import { printable } from '../core/printable.ts'

/** One message of the engine's push stream. */
export interface PushMessage {
  readonly status?: unknown
  readonly id?: unknown
  readonly error?: unknown
  readonly errorDetail?: { readonly message?: unknown }
  readonly progressDetail?: { readonly current?: unknown; readonly total?: unknown }
  readonly aux?: { readonly Digest?: unknown; readonly Size?: unknown }
}

const PART_LINES_MAX = 200

/**
 * Turns a push's stream of progress into a few lines for people: one per layer when it is through, and the bytes that were sent.
 * Progress bars are not lines.
 */
export class PushProgress {
  readonly #onLine: (line: string) => void
  readonly #sent = new Map<string, number>()
  #lines = 0
  #known = 0
  #digest: string | null = null
  #error: string | null = null

  constructor(onLine: (line: string) => void) {
    this.#onLine = onLine
  }

  /** The manifest's digest, as the engine says it. */
  get digest(): string | null {
    return this.#digest
  }

  get error(): string | null {
    return this.#error
  }

  get summary(): string {
    const bytes = [...this.#sent.values()].reduce((sum, size) => sum + size, 0)
    return `${this.#sent.size} layers sent (${(bytes / 1024 ** 2).toFixed(1)} MiB), ${this.#known} were there`
  }

  take(message: PushMessage): void {
    const error = message.errorDetail?.message ?? message.error
    if (typeof error === 'string' && error !== '') this.#error = printable(error)
    const digest = message.aux?.Digest
    if (typeof digest === 'string' && /^sha256:[0-9a-f]{64}$/.test(digest)) this.#digest = digest
    if (typeof message.id === 'string' && typeof message.status === 'string')
      this.#layer(printable(message.id).slice(0, 40), message.status, message)
  }

  #layer(id: string, status: string, message: PushMessage): void {
    const current = message.progressDetail?.current
    if (status === 'Pushing' && typeof current === 'number') this.#sent.set(id, Math.max(this.#sent.get(id) ?? 0, current))
    else if (status === 'Pushed') {
      const bytes = this.#sent.get(id) ?? 0
      this.#sent.set(id, bytes)
      this.#line(`layer ${id} pushed (${(bytes / 1024 ** 2).toFixed(1)} MiB)`)
    } else if (status === 'Layer already exists' || status.startsWith('Mounted from')) {
      this.#known += 1
    }
  }

  #line(line: string): void {
    if (this.#lines < PART_LINES_MAX) this.#onLine(line)
    this.#lines += 1
  }
}
