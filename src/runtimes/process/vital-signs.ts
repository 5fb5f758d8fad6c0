import { isAlive, type ProcessIdentity } from '../../core/process-identity.ts'

const LOOK_MS = 50
/** Every so many looks it is asked whether a process still has its number, and is more than a zombie that nobody reaps. */
const LOOKS_PER_PROOF = 40

interface Watched {
  readonly identity: ProcessIdentity
  readonly onGone: () => void
}

/** One question of the kernel, without a file: whether a process has that number. */
export type HasNumber = (pid: number) => boolean

/**
 * Tells when processes end that are no children of ours: supervisors outlive the server that started them. One timer asks for all of
 * them, a system call each and no file, so that a thousand of them at rest cost next to nothing.
 */
export class VitalSigns {
  readonly #hasNumber: HasNumber
  readonly #isAlive: (identity: ProcessIdentity) => boolean
  readonly #watched = new Set<Watched>()
  #timer: NodeJS.Timeout | null = null
  #look = 0

  constructor(outside: { readonly hasNumber?: HasNumber; readonly isAlive?: (identity: ProcessIdentity) => boolean } = {}) {
    this.#hasNumber = outside.hasNumber ?? hasNumber
    this.#isAlive = outside.isAlive ?? isAlive
  }

  /** Calls `onGone` once when the process has ended, unless what is returned was called before. */
  watch(identity: ProcessIdentity, onGone: () => void): () => void {
    const watched = { identity, onGone }
    this.#watched.add(watched)
    this.#timer ??= setInterval(() => this.#lookAtAll(), LOOK_MS).unref()
    return () => this.#forget(watched)
  }

  #lookAtAll(): void {
    this.#look += 1
    let index = 0
    for (const watched of [...this.#watched]) {
      index += 1
      // Not all in the same look.
      const isProof = (this.#look + index) % LOOKS_PER_PROOF === 0
      if (this.#hasNumber(watched.identity.pid) && !(isProof && !this.#isAlive(watched.identity))) continue
      this.#forget(watched)
      watched.onGone()
    }
  }

  #forget(watched: Watched): void {
    this.#watched.delete(watched)
    if (this.#watched.size > 0 || this.#timer === null) return
    clearInterval(this.#timer)
    this.#timer = null
  }
}

/** One that may not be signalled belongs to somebody else: the number was given away. */
function hasNumber(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}
