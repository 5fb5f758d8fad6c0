#!/usr/bin/env node
import { readFileSync } from 'node:fs'
import { toShiplockError } from '../core/errors.ts'
import { type CommonOptions, createContext } from './context.ts'
import { toProblemLike } from './problem-like.ts'
import { createProgram, exitCodeOfCommander } from './program.ts'
import { renderError } from './render-error.ts'
import { createTerminal } from './terminal.ts'

const version = (JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }).version

async function main(): Promise<number> {
  const env = process.env
  const interrupted = new AbortController()
  let code = 0
  const interrupt = () => {
    // The second Ctrl-C is meant: whatever still runs is left.
    if (interrupted.signal.aborted) process.exit(130)
    interrupted.abort(new Error('interrupted'))
  }
  process.on('SIGINT', interrupt)
  process.on('SIGTERM', interrupt)
  // `shiplock status | head` closes our output early; that is no error.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 4))
  let options: CommonOptions = { json: process.argv.includes('--json') }
  const terminalFor = (given: CommonOptions) =>
    createTerminal({ json: given.json === true, color: given.color !== false, env, script: process.argv[1] })
  const program = createProgram(
    (given) => {
      options = given
      return createContext(terminalFor(given), env, interrupted.signal)
    },
    version,
    (result) => {
      code = result
    },
  )
  try {
    await program.parseAsync(process.argv)
    return code
  } catch (error) {
    const ofCommander = exitCodeOfCommander(error)
    if (ofCommander !== null) return ofCommander
    if (interrupted.signal.aborted) return 130
    const known = toShiplockError(error)
    const terminal = terminalFor(options)
    if (terminal.isJson) terminal.json({ error: toProblemLike(known) })
    else for (const line of renderError(known, terminal)) terminal.error(line)
    return known.info.exit
  }
}

// Not process.exit: what was written must reach a slow reader. Streams and timers are closed by their owners.
main().then(
  (code) => {
    process.exitCode = code
  },
  (error: unknown) => {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    process.exitCode = 4
  },
)
