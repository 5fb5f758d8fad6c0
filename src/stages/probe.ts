import { connect } from 'node:net'
import { Agent, type Dispatcher, request } from 'undici'
import type { Clock } from '../core/clock.ts'
import { printable } from '../core/printable.ts'
import type { ProbeAttempt } from '../domain/deployment.ts'
import type { InstanceId } from '../domain/ids.ts'
import type { HttpProbe, Probe } from '../domain/service-config.ts'
import type { Runtime } from '../runtimes/runtime.ts'

const BODY_BYTES_KEPT = 200
const REDIRECTS_MAX = 5

export interface ProbeRequest {
  readonly probe: Probe
  readonly instanceId: InstanceId
  readonly address: { readonly host: string; readonly port: number }
  readonly timeoutMs: number
  readonly runtime: Runtime
  readonly clock: Clock
  readonly signal: AbortSignal
}

/** One attempt, from the engine's side; nothing is needed in the instance. Never rejects, but for the abort of `signal`. */
export async function probeOnce(request: ProbeRequest): Promise<ProbeAttempt> {
  const started = request.clock.monotonic()
  const at = new Date(request.clock.now()).toISOString()
  const answer = await provenAttempt(request)
  request.signal.throwIfAborted()
  return {
    at,
    instanceId: request.instanceId,
    address: addressOf(request),
    outcome: answer.passed ? 'passed' : 'failed',
    result: answer.result,
    body: answer.body,
    tookMs: Math.round(request.clock.monotonic() - started),
  }
}

/** Proved before, so that a stranger gets nothing, and after, since an answer proves nothing about who gave it (I15). */
async function provenAttempt(request: ProbeRequest): Promise<Answer> {
  const stranger = await strangerAt(request)
  if (stranger !== null) return stranger
  const answer = await attempt(request)
  return (answer.passed ? await strangerAt(request) : null) ?? answer
}

async function strangerAt({ runtime, instanceId }: ProbeRequest): Promise<Answer | null> {
  const proof = await runtime.proveEndpoint(instanceId)
  return proof.kind === 'foreign' ? { passed: false, result: proof.reason, body: null } : null
}

interface Answer {
  readonly passed: boolean
  readonly result: string
  readonly body: string | null
}

function attempt(request: ProbeRequest): Promise<Answer> {
  switch (request.probe.kind) {
    case 'httpGet':
      return httpAnswer(request, request.probe)
    case 'tcp':
      return tcpAnswer(request, request.probe.port ?? request.address.port)
    case 'exec':
      return execAnswer(request, request.probe.command)
  }
}

function addressOf({ probe, address }: ProbeRequest): string {
  if (probe.kind === 'exec') return `exec ${probe.command}`
  const hostAndPort = `${address.host}:${probe.port ?? address.port}`
  return probe.kind === 'tcp' ? `tcp://${hostAndPort}` : `${probe.scheme}://${hostAndPort}${probe.path}`
}

/** A probe must see the instance as it is now: no connection is kept, no certificate is demanded of a loopback address. */
async function httpAnswer(request: ProbeRequest, probe: HttpProbe): Promise<Answer> {
  const agent = new Agent({ pipelining: 0, connect: { rejectUnauthorized: false } })
  try {
    return await followed(request, probe, agent)
  } catch (error) {
    return { passed: false, result: reasonOf(error, request.timeoutMs), body: null }
  } finally {
    await agent.destroy()
  }
}

async function followed(probeRequest: ProbeRequest, probe: HttpProbe, agent: Agent): Promise<Answer> {
  const { address, timeoutMs, signal } = probeRequest
  const origin = `${probe.scheme}://${address.host}:${probe.port ?? address.port}`
  const bound = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)])
  let url = new URL(probe.path, origin)
  for (let redirects = 0; ; redirects++) {
    const response = await request(url, {
      dispatcher: agent,
      signal: bound,
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      headers: { host: probe.host ?? new URL(origin).host, 'user-agent': 'shiplock-probe', accept: '*/*' },
    })
    const status = response.statusCode
    const location = response.headers.location
    const isExpected = probe.expectStatus === null ? status >= 200 && status < 300 : status === probe.expectStatus
    // The status decides: a stream may never end. The agent's end cuts it.
    if (isExpected) return { passed: true, result: `HTTP ${status}`, body: null }
    const body = await headOf(response)
    if (status < 300 || status > 399 || typeof location !== 'string') return { passed: false, result: `HTTP ${status}`, body }
    const next = new URL(location, url)
    const isSameHost = next.host === url.host || next.hostname === probe.host
    if (!isSameHost) return { passed: false, result: `HTTP ${status} to another host: ${printable(next.host)}`, body }
    if (redirects === REDIRECTS_MAX) return { passed: false, result: `HTTP ${status}: more than ${REDIRECTS_MAX} redirects`, body }
    url = new URL(next.pathname + next.search, origin)
  }
}

/** What comes of it in time; a body that stalls or breaks changes nothing about the status that was seen. */
async function headOf(response: Dispatcher.ResponseData): Promise<string | null> {
  const chunks: Buffer[] = []
  let bytes = 0
  try {
    for await (const chunk of response.body) {
      chunks.push(chunk as Buffer)
      bytes += (chunk as Buffer).length
      if (bytes >= BODY_BYTES_KEPT) break
    }
  } catch {}
  return bytes === 0 ? null : printable(Buffer.concat(chunks).subarray(0, BODY_BYTES_KEPT).toString('utf8'))
}

/** Not by the socket's own `signal` option: its listener stays on the signal for ever, one for each probe of a long watch. */
function tcpAnswer({ address, timeoutMs, signal }: ProbeRequest, port: number): Promise<Answer> {
  return new Promise((resolve) => {
    const socket = connect({ host: address.host, port })
    const settle = (passed: boolean, result: string) => {
      signal.removeEventListener('abort', onAbort)
      socket.destroy()
      resolve({ passed, result, body: null })
    }
    const onAbort = () => settle(false, reasonOf(signal.reason, timeoutMs))
    socket.setTimeout(timeoutMs, () => settle(false, `no answer in ${timeoutMs} ms`))
    socket.once('connect', () => settle(true, 'connected'))
    socket.on('error', (error) => settle(false, reasonOf(error, timeoutMs)))
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
  })
}

async function execAnswer(request: ProbeRequest, command: string): Promise<Answer> {
  try {
    const outcome = await request.runtime.exec(request.instanceId, command, { timeoutMs: request.timeoutMs, signal: request.signal })
    if (outcome.timedOut) return { passed: false, result: `no end in ${request.timeoutMs} ms`, body: outcome.output }
    const passed = outcome.exitCode === 0
    return { passed, result: `exit ${outcome.exitCode}`, body: passed ? null : outcome.output.slice(-BODY_BYTES_KEPT) }
  } catch (error) {
    return { passed: false, result: reasonOf(error, request.timeoutMs), body: null }
  }
}

function reasonOf(error: unknown, timeoutMs: number): string {
  const { name, code, message, cause } = error as Error & { code?: string; cause?: { code?: string } }
  if (name === 'TimeoutError' || code === 'UND_ERR_HEADERS_TIMEOUT' || code === 'UND_ERR_BODY_TIMEOUT')
    return `no answer in ${timeoutMs} ms`
  return printable(cause?.code ?? code ?? message)
}
