import { Worker } from 'node:worker_threads'
import { ERRORS, type ErrorCode, ShiplockError, toShiplockError } from './errors.ts'
import { LIMITS } from './limits.ts'

/** What a worker is asked, and what it answers. Everything is plain data. */
export interface OffLoopRequest {
  readonly task: string
  readonly input: unknown
}
export type OffLoopReply = { readonly value: unknown } | { readonly error: ErrorFacts }

export interface ErrorFacts {
  readonly code: string
  readonly message: string
  readonly hint: string
  readonly details: Readonly<Record<string, unknown>>
}

export interface OffLoopOptions {
  /** The program of the workers. */
  readonly entry: URL
  /** Default LIMITS.offLoopMs. */
  readonly deadlineMs?: number
  /** Default LIMITS.offLoopWorkers. */
  readonly workers?: number
  /** Default LIMITS.offLoopMemoryMb. */
  readonly memoryMb?: number
}

interface Job {
  readonly request: OffLoopRequest
  /** For the refusal: `reading the configuration`. */
  readonly what: string
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

/**
 * For libraries that can't be made to pause (YAML, JSON, schemas) on foreign text: they run in a thread of their own, with a bound on time and
 * memory that ends the thread. What can be cut into slices is, with `Pace`; that costs no copy.
 */
export class OffLoop {
  readonly #options: OffLoopOptions
  readonly #waiting: Job[] = []
  readonly #idle: Worker[] = []
  #running = 0

  constructor(options: OffLoopOptions) {
    this.#options = options
  }

  /** @throws what the task threw, WORK_TOO_LARGE when it took too long or too much memory */
  run<Result>(task: string, input: unknown, what: string): Promise<Result> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ request: { task, input }, what, resolve: resolve as (value: unknown) => void, reject })
      this.#next()
    })
  }

  #next(): void {
    if (this.#running >= (this.#options.workers ?? LIMITS.offLoopWorkers)) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    this.#running += 1
    const worker = this.#idle.pop() ?? this.#makeWorker()
    worker.ref()
    this.#give(worker, job)
      .then(
        () => {
          worker.unref()
          this.#idle.push(worker)
        },
        // It may be anywhere: never used again.
        () => void worker.terminate(),
      )
      .finally(() => {
        this.#running -= 1
        this.#next()
      })
  }

  /** Rejects when the worker is of no use any more; the job is settled in any case. */
  #give(worker: Worker, job: Job): Promise<void> {
    return new Promise((resolve, reject) => {
      const end = (settle: () => void) => {
        clearTimeout(timer)
        for (const event of ['online', 'message', 'error', 'exit']) worker.removeAllListeners(event)
        settle()
      }
      const giveUp = (error: unknown) =>
        end(() => {
          job.reject(error)
          reject(error as Error)
        })
      const deadlineMs = this.#options.deadlineMs ?? LIMITS.offLoopMs
      const timer = setTimeout(() => giveUp(tooLarge(job.what, `took longer than ${deadlineMs / 1000} s`)), deadlineMs)
      // To start a thread takes a while on a busy host, which is nobody's fault.
      worker.once('online', () => timer.refresh())
      worker.once('message', (reply: OffLoopReply) =>
        end(() => {
          if ('error' in reply) job.reject(errorOf(reply.error))
          else job.resolve(reply.value)
          resolve()
        }),
      )
      worker.once('error', (error: NodeJS.ErrnoException) => {
        giveUp(error.code === 'ERR_WORKER_OUT_OF_MEMORY' ? tooLarge(job.what, 'took too much memory') : error)
      })
      worker.once('exit', (code) => giveUp(new Error(`the thread that was ${job.what} ended with ${code}`)))
      worker.postMessage(job.request)
    })
  }

  #makeWorker(): Worker {
    const { entry, memoryMb = LIMITS.offLoopMemoryMb } = this.#options
    // Nothing of the server's environment is of use there.
    return new Worker(entry, { env: {}, execArgv: [], resourceLimits: { maxOldGenerationSizeMb: memoryMb } })
  }
}

function tooLarge(what: string, how: string): ShiplockError {
  return new ShiplockError('WORK_TOO_LARGE', `${what} ${how}`, { hint: 'Make the file smaller or plainer.' })
}

export function factsOf(error: unknown): ErrorFacts {
  const { code, message, hint, details } = toShiplockError(error)
  return { code, message, hint, details }
}

export function errorOf({ code, message, hint, details }: ErrorFacts): ShiplockError {
  return new ShiplockError(code in ERRORS ? (code as ErrorCode) : 'INTERNAL', message, { hint, details })
}
