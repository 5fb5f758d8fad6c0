import { basename } from 'node:path'
import { createInterface } from 'node:readline/promises'
import { Writable } from 'node:stream'
import { createColors } from 'picocolors'
import { decodeExactly } from '../core/decode-exactly.ts'
import { ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'

/** Where a command writes. Data and progress go to stdout, errors and advice about them to stderr. */
export interface Terminal {
  /** How this program is called, for advice: `shiplock`, or `npx shiplock` in a clone. */
  readonly program: string
  /** Progress may be drawn in place. */
  readonly isLive: boolean
  readonly isJson: boolean
  /** Of the terminal; without end where there is none, so that pipes and files lose nothing. */
  readonly columns: number
  readonly colors: ReturnType<typeof createColors>
  /** A line for people; nothing with --json. */
  print(line?: string): void
  /** As it is, without a line break; for drawing in place. */
  draw(text: string): void
  /** One JSON document (or one line of a stream). */
  json(value: unknown, options?: { readonly isLine: boolean }): void
  error(line: string): void
  /** Whether somebody is there who can answer. */
  readonly canAsk: boolean
  /** True for a yes; anything else, and an abort, is a no. */
  confirm(question: string, signal: AbortSignal): Promise<boolean>
  /** All of what comes through a pipe; at a terminal one line that is not shown while it is typed. */
  readSecret(question: string, signal: AbortSignal): Promise<string>
}

export interface TerminalOptions {
  readonly json: boolean
  readonly color: boolean
  readonly env: Readonly<Record<string, string | undefined>>
  /** Path of the script that runs, as it was called. */
  readonly script?: string | undefined
}

const COLUMNS_DEFAULT = 100

export function createTerminal(
  options: TerminalOptions,
  stdout: NodeJS.WriteStream = process.stdout,
  stderr: NodeJS.WriteStream = process.stderr,
  stdin: NodeJS.ReadStream = process.stdin,
): Terminal {
  const isTty = stdout.isTTY === true
  const isColored = options.color && !options.env.NO_COLOR && (isTty || Boolean(options.env.FORCE_COLOR)) && options.env.TERM !== 'dumb'
  return {
    program: options.script === undefined || basename(options.script) === 'shiplock' ? 'shiplock' : 'npx shiplock',
    isLive: isTty && !options.json && options.env.TERM !== 'dumb' && !options.env.CI,
    isJson: options.json,
    get columns() {
      if (!isTty) return Number.POSITIVE_INFINITY
      return stdout.columns > 0 ? stdout.columns : COLUMNS_DEFAULT
    },
    colors: createColors(isColored && !options.json),
    print: (line = '') => {
      if (!options.json) stdout.write(`${line}\n`)
    },
    draw: (text) => {
      stdout.write(text)
    },
    json: (value, { isLine } = { isLine: false }) => {
      stdout.write(`${isLine ? JSON.stringify(value) : JSON.stringify(value, null, 2)}\n`)
    },
    error: (line) => {
      stderr.write(`${line}\n`)
    },
    canAsk: isTty && stdin.isTTY === true && !options.json && !options.env.CI,
    confirm: async (question, signal) => {
      const reader = createInterface({ input: stdin, output: stdout })
      try {
        return /^y(es)?$/i.test((await reader.question(`${question} [y/N] `, { signal })).trim())
      } catch {
        return false
      } finally {
        reader.close()
      }
    },
    readSecret: (question, signal) => (stdin.isTTY === true ? askUnseen(question, signal, stdin, stderr) : readAll(stdin, signal)),
  }
}

async function readAll(stdin: NodeJS.ReadStream, signal: AbortSignal): Promise<string> {
  const chunks: Buffer[] = []
  let length = 0
  const stop = () => stdin.destroy(new Error('interrupted'))
  signal.addEventListener('abort', stop, { once: true })
  try {
    for await (const chunk of stdin) {
      length += (chunk as Buffer).length
      if (length > LIMITS.dotenvBytes)
        throw new ShiplockError('INPUT_INVALID', `more than ${LIMITS.dotenvBytes} bytes came through the pipe`)
      chunks.push(chunk as Buffer)
    }
    return decodeExactly(Buffer.concat(chunks), 'what came through the pipe')
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** The terminal echoes nothing of it: what readline would draw goes nowhere. */
async function askUnseen(question: string, signal: AbortSignal, stdin: NodeJS.ReadStream, stderr: NodeJS.WriteStream): Promise<string> {
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const reader = createInterface({ input: stdin, output: nowhere, terminal: true })
  try {
    stderr.write(question)
    // In raw mode Ctrl-C is a key like others.
    reader.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    const ended = new Promise<string>((resolve) => reader.once('close', () => resolve('')))
    return await Promise.race([reader.question('', { signal }), ended])
  } finally {
    reader.close()
    stderr.write('\n')
  }
}

/** Text from elsewhere, harmless (I9) and cut to a width. */
export function fitted(text: string, width: number): string {
  const harmless = printable(text).replaceAll('\t', '  ')
  return harmless.length > width ? `${harmless.slice(0, Math.max(0, width - 1))}…` : harmless
}
