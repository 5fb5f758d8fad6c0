import type { Socket } from 'node:net'
import { StringDecoder } from 'node:string_decoder'
import { ERRORS, type ErrorCode, ShiplockError, toShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'

interface WireError {
  readonly code: ErrorCode
  readonly message: string
  readonly hint: string
  readonly details: Readonly<Record<string, unknown>>
}
type Message =
  | { readonly id: number; readonly op: string; readonly params: unknown }
  | { readonly reply: number; readonly result: unknown }
  | { readonly reply: number; readonly error: WireError }

export type RpcHandler = (op: string, params: unknown, peer: RpcPeer) => Promise<unknown>

/**
 * Calls in both directions over one private socket: a JSON object a line, at most `LIMITS.edgeControlBytes` long. A peer that breaks
 * the form is disconnected. Calls that are open when the connection ends fail with EDGE_UNAVAILABLE: they may have happened or not.
 */
export class RpcPeer {
  readonly #socket: Socket
  readonly #handler: RpcHandler
  readonly #open = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  readonly #decoder = new StringDecoder('utf8')
  readonly #whenClosed: (() => void)[] = []
  #rest = ''
  #nextId = 1
  #isClosed = false

  constructor(socket: Socket, handler: RpcHandler = refuseCalls) {
    this.#socket = socket
    this.#handler = handler
    socket.on('data', (chunk) => this.#read(chunk as Buffer))
    socket.on('error', () => socket.destroy())
    socket.on('end', () => socket.destroy())
    socket.on('close', () => this.#close())
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  onClose(listener: () => void): void {
    if (this.#isClosed) listener()
    else this.#whenClosed.push(listener)
  }

  call<Result>(op: string, params: unknown, timeoutMs: number): Promise<Result> {
    if (this.#isClosed) return Promise.reject(lost(op))
    const id = this.#nextId++
    return new Promise<Result>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#open.delete(id)
        reject(new ShiplockError('EDGE_UNAVAILABLE', `the edge did not answer ${op} within ${timeoutMs} ms`))
      }, timeoutMs)
      const settle = () => {
        clearTimeout(timer)
        this.#open.delete(id)
      }
      this.#open.set(id, {
        resolve: (result) => {
          settle()
          resolve(result as Result)
        },
        reject: (error) => {
          settle()
          reject(error)
        },
      })
      this.#send({ id, op, params })
    })
  }

  /** Ends the connection after what was written. */
  end(): void {
    this.#socket.end()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  unref(): void {
    this.#socket.unref()
  }

  #send(message: Message): void {
    if (!this.#isClosed && this.#socket.writable) this.#socket.write(`${JSON.stringify(message)}\n`)
  }

  #read(chunk: Buffer): void {
    this.#rest += this.#decoder.write(chunk)
    for (let end = this.#rest.indexOf('\n'); end !== -1; end = this.#rest.indexOf('\n')) {
      const line = this.#rest.slice(0, end)
      this.#rest = this.#rest.slice(end + 1)
      if (line !== '' && !this.#take(line)) return void this.#socket.destroy()
    }
    if (this.#rest.length > LIMITS.edgeControlBytes) this.#socket.destroy()
  }

  #take(line: string): boolean {
    let message: Message
    try {
      message = JSON.parse(line) as Message
    } catch {
      return false
    }
    if (typeof message !== 'object' || message === null) return false
    if ('op' in message) {
      if (typeof message.op !== 'string' || typeof message.id !== 'number') return false
      void this.#answer(message.id, message.op, message.params)
      return true
    }
    const waiting = this.#open.get(message.reply)
    if ('error' in message) waiting?.reject(fromWire(message.error))
    else waiting?.resolve(message.result)
    return true
  }

  async #answer(id: number, op: string, params: unknown): Promise<void> {
    try {
      this.#send({ reply: id, result: (await this.#handler(op, params, this)) ?? null })
    } catch (error) {
      const { code, message, hint, details } = toShiplockError(error)
      this.#send({ reply: id, error: { code, message, hint, details } })
    }
  }

  #close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    for (const { reject } of [...this.#open.values()]) reject(lost('the call'))
    for (const listener of this.#whenClosed) listener()
  }
}

function lost(op: string): ShiplockError {
  return new ShiplockError('EDGE_UNAVAILABLE', `the connection to the edge ended before ${op} was answered`)
}

function fromWire(error: WireError): ShiplockError {
  const code: ErrorCode = error.code in ERRORS ? error.code : 'INTERNAL'
  return new ShiplockError(code, error.message, { hint: error.hint, details: error.details })
}

async function refuseCalls(op: string): Promise<never> {
  throw new ShiplockError('INPUT_INVALID', `unknown call ${op}`)
}
