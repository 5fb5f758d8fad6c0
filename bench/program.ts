import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'

/** A helper program in a process of its own, so that what it costs is not counted for us. Ends with `stop`, or with this process. */
export class Program {
  readonly #child: ChildProcess
  readonly #messages: unknown[] = []
  #wake: (() => void) | null = null

  constructor(name: string, args: readonly (string | number)[]) {
    this.#child = fork(resolve('bench/programs', `${name}.mjs`), args.map(String), { stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
    this.#child.on('message', (message) => {
      this.#messages.push(message)
      this.#wake?.()
    })
    this.#child.on('exit', () => this.#wake?.())
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** The next thing that it says. */
  async said<T>(): Promise<T> {
    for (;;) {
      const message = this.#messages.shift()
      if (message !== undefined) return message as T
      if (this.#child.exitCode !== null || this.#child.signalCode !== null)
        throw new Error(`${this.#child.spawnargs[1]} ended without a word`)
      await new Promise<void>((wake) => {
        this.#wake = wake
      })
    }
  }

  tell(message: string): void {
    this.#child.send(message)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    this.#child.kill('SIGKILL')
    await once(this.#child, 'exit')
  }
}
