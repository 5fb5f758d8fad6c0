import { spawn } from 'node:child_process'
import { mkdir, open, rename, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ERRORS, type ErrorCode, ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import type { EdgeProcessConfig } from './edge-config.ts'
import type { StartReport } from './edge-process.ts'

const REPORT_FD = 3

/** Starts a primary in a session of its own, so that it outlives this process, and waits until it serves or says why not. */
export async function launchEdge(
  config: Omit<EdgeProcessConfig, 'inheritedFd' | 'reportFd'>,
  nodePath: string,
  entryPath: string,
): Promise<void> {
  await mkdir(config.stateDirectory, { recursive: true, mode: 0o700 })
  const log = await openLog(join(config.stateDirectory, 'edge.log'))
  try {
    const full: EdgeProcessConfig = { ...config, inheritedFd: null, reportFd: REPORT_FD }
    const child = spawn(nodePath, [entryPath, JSON.stringify(full)], {
      detached: true,
      cwd: '/',
      stdio: ['ignore', log.fd, log.fd, 'pipe'],
      env: {},
    })
    const report = await new Promise<StartReport>((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL')
        reject(new ShiplockError('EDGE_UNAVAILABLE', 'the edge did not start in time; edge.log says more'))
      }, LIMITS.edgeStartMs + LIMITS.edgeWorkerAckMs)
      let text = ''
      child.stdio[REPORT_FD]?.on('data', (chunk: Buffer) => {
        text += chunk.toString()
        const last = lastReport(text)
        if (last === null || last.state === 'control') return
        clearTimeout(timer)
        resolve(last)
      })
      child.once('error', reject)
      child.once('exit', (exitCode, signal) => {
        clearTimeout(timer)
        reject(new ShiplockError('EDGE_UNAVAILABLE', `the edge ended at its start (${signal ?? `exit ${exitCode}`}); edge.log says more`))
      })
    })
    child.removeAllListeners('exit')
    child.stdio[REPORT_FD]?.destroy()
    child.unref()
    if (report.state === 'failed') throw new ShiplockError(knownCode(report.code), report.message, { hint: report.hint })
  } finally {
    await log.close()
  }
}

function lastReport(text: string): StartReport | null {
  const line = text
    .slice(0, text.lastIndexOf('\n') + 1)
    .trimEnd()
    .split('\n')
    .at(-1)
  return line === undefined || line === '' ? null : (JSON.parse(line) as StartReport)
}

function knownCode(code: string): ErrorCode {
  return code in ERRORS ? (code as ErrorCode) : 'EDGE_UNAVAILABLE'
}

/** Appends; a log that has grown is put aside first, so that there are never more than two of that size. */
async function openLog(path: string) {
  const size = await stat(path).then(
    (found) => found.size,
    () => 0,
  )
  if (size > LIMITS.edgeLogBytes) await rename(path, `${path}.1`)
  return await open(path, 'a', 0o600)
}
