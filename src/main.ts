import { fileURLToPath } from 'node:url'
import { loadSettings } from './config/settings.ts'
import { toShiplockError } from './core/errors.ts'
import { createLogger } from './core/log.ts'
import { diagnose } from './server/checks.ts'
import { startServer } from './server/start-server.ts'

/** The server process: reads its settings, once; runs until a signal. `doctor` as argument prints what is missing instead. */
async function main(): Promise<void> {
  const env = process.env
  const settings = loadSettings(env, { file: env.SHIPLOCK_SERVER_CONFIG ?? null })
  if (process.argv[2] === 'doctor') {
    process.stdout.write(`${JSON.stringify(await diagnose(settings))}\n`)
    return
  }
  const logger = createLogger(settings.logLevel)
  const server = await startServer(settings, logger)
  const isForeground = env.SHIPLOCK_FOREGROUND === '1'
  let isStopping = false
  const stop = (signal: NodeJS.Signals) => {
    if (isStopping) return
    isStopping = true
    // SIGQUIT is `shiplock server stop --all`.
    const scope = isForeground || signal === 'SIGQUIT' ? 'everything' : 'server'
    logger.info(scope === 'everything' ? 'stopping server, apps and edge' : 'stopping the server; apps and edge go on', { signal })
    void server.stop(scope).then(
      () => process.exit(0),
      (error: unknown) => {
        logger.error('the stop failed', { error })
        process.exit(4)
      },
    )
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
  process.on('SIGQUIT', stop)
  // Last: whoever hears it may signal at once.
  logger.info('the server is ready', { api: server.apiUrl, edge: server.edgeUrl, pid: process.pid, foreground: isForeground })
  process.send?.({ kind: 'ready', apiUrl: server.apiUrl, edgeUrl: server.edgeUrl, tokenPath: server.tokenPath })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  main().catch((error: unknown) => {
    const known = toShiplockError(error)
    process.stderr.write(
      `${JSON.stringify({ level: 'fatal', code: known.code, message: known.message, hint: known.hint, details: known.details })}\n`,
    )
    process.exit(known.info.exit)
  })
}
