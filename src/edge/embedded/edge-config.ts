import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'

/** What a primary process is started with, as one JSON argument. */
export interface EdgeProcessConfig {
  /** Private to the edge; made with mode 0700. */
  readonly stateDirectory: string
  /** An address, not a name. */
  readonly host: string
  readonly port: number
  readonly workers: number
  /** How long an instance may take until its answer begins; null = `LIMITS.upstreamResponseMs`. */
  readonly responseTimeoutMs: number | null
  /** Only a proxy of ours reaches the listener: what it says about scheme and port of the client's request holds. */
  readonly trustsForwarded: boolean
  /** What all hosts share when their apps belong to different people: no cookie is set for it. Null = cookies pass as they are. */
  readonly cookieBase: string | null
  /** Descriptor of the listening socket when a predecessor hands it over. */
  readonly inheritedFd: number | null
  /** Descriptor that takes the start-up messages; null = nobody listens. */
  readonly reportFd: number | null
}

/** sun_path of unix(7) holds 108 bytes with the final zero. */
const SOCKET_PATH_BYTES = 107

export function controlSocketPath(stateDirectory: string): string {
  const path = `${stateDirectory}/control.sock`
  if (Buffer.byteLength(path) > SOCKET_PATH_BYTES) {
    throw new ShiplockError('INPUT_INVALID', `the edge's directory is too long for a unix socket (${SOCKET_PATH_BYTES} bytes): ${path}`, {
      hint: 'Choose a data directory with a shorter path.',
    })
  }
  return path
}

export function parseEdgeProcessConfig(text: string): EdgeProcessConfig {
  const raw = JSON.parse(text) as Partial<EdgeProcessConfig>
  const { stateDirectory, host, port, workers } = raw
  if (typeof stateDirectory !== 'string' || !stateDirectory.startsWith('/')) throw invalid('stateDirectory', 'an absolute path')
  if (typeof host !== 'string') throw invalid('host', 'an address')
  if (!isWhole(port, 0, 65_535)) throw invalid('port', 'a port')
  if (!isWhole(workers, 1, LIMITS.edgeWorkers)) throw invalid('workers', `1 to ${LIMITS.edgeWorkers}`)
  return {
    stateDirectory,
    host,
    port,
    workers,
    responseTimeoutMs: raw.responseTimeoutMs ?? null,
    trustsForwarded: raw.trustsForwarded === true,
    cookieBase: raw.cookieBase ?? null,
    inheritedFd: raw.inheritedFd ?? null,
    reportFd: raw.reportFd ?? null,
  }
}

function isWhole(value: unknown, min: number, max: number): value is number {
  return Number.isInteger(value) && Number(value) >= min && Number(value) <= max
}

function invalid(field: string, wanted: string): ShiplockError {
  return new ShiplockError('INPUT_INVALID', `${field}: ${wanted} is wanted`)
}
