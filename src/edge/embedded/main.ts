import { closeSync, writeSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { toShiplockError } from '../../core/errors.ts'
import { createLogger } from '../../core/log.ts'
import { WORKER_CONFIG } from './crew.ts'
import { parseEdgeProcessConfig } from './edge-config.ts'
import { EdgeProcess, type StartReport } from './edge-process.ts'
import { Worker, type WorkerConfig } from './worker.ts'

const STOP_GRACE_MS = 10_000

const logger = createLogger('info').with({ part: 'edge', pid: process.pid })
const [first] = process.argv.slice(2)

process.on('uncaughtException', (error) => {
  logger.error('uncaught; this process ends and is replaced', { error: error.stack ?? String(error) })
  process.exit(70)
})

if (first === '--worker') {
  // Not among the arguments: they hold the token of the probes, and everybody on the host can list those.
  const config = JSON.parse(process.env[WORKER_CONFIG] ?? '') as WorkerConfig
  delete process.env[WORKER_CONFIG]
  // Signals for the group are meant for the primary, which tells its workers what to do.
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.on(signal, () => {})
  new Worker(config, logger).run().catch((error) => {
    logger.error('a worker could not start', { error })
    process.exit(71)
  })
} else {
  startPrimary(first ?? '')
}

function startPrimary(text: string): void {
  const config = parseEdgeProcessConfig(text)
  const entryPath = fileURLToPath(import.meta.url)
  const report = reporter(config.reportFd)
  const edge = new EdgeProcess(config, entryPath, logger, report)
  const leave = () => void edge.stop(STOP_GRACE_MS).finally(() => process.exit(0))
  process.on('SIGTERM', leave)
  process.on('SIGINT', leave)
  process.on('SIGHUP', () => {
    edge.restart(null, entryPath).then(
      () => process.exit(0),
      (error) => logger.error('restart failed', { error }),
    )
  })
  edge.run().catch((error) => {
    const { code, message, hint } = toShiplockError(error)
    logger.error('the edge could not start', { code, message })
    report({ state: 'failed', code, message, hint })
    void edge.stop(0).finally(() => process.exit(1))
  })
}

/** Writes to whoever started this process; that it may be gone by now is no reason to end. */
function reporter(fd: number | null): (report: StartReport) => void {
  return (report) => {
    if (fd === null) return
    try {
      writeSync(fd, `${JSON.stringify(report)}\n`)
      if (report.state !== 'control') closeSync(fd)
    } catch {}
  }
}
