/** Wakes who waits for a named thing to end: at once when somebody tells of its end, at the latest after a while. */
export class ExitSignals {
  readonly #waiting = new Map<string, Set<() => void>>()

  emit(name: string): void {
    for (const resolve of [...(this.#waiting.get(name) ?? [])]) resolve()
  }

  /** Whoever waits looks again: something may have been missed. */
  emitAll(): void {
    for (const name of [...this.#waiting.keys()]) this.emit(name)
  }

  /** Resolves at the next signal for `name` or after `pollMs`; rejects with the signal's reason. */
  next(name: string, pollMs: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason)
      const waiting = this.#waiting.get(name) ?? new Set()
      this.#waiting.set(name, waiting)
      const finish = () => {
        clearTimeout(timer)
        signal.removeEventListener('abort', finish)
        waiting.delete(finish)
        if (waiting.size === 0) this.#waiting.delete(name)
        if (signal.aborted) reject(signal.reason)
        else resolve()
      }
      const timer = setTimeout(finish, pollMs)
      waiting.add(finish)
      signal.addEventListener('abort', finish, { once: true })
    })
  }
}
