/** Who answers, as GET /version says it. */
export interface EngineVersion {
  /** `Docker Engine 20.10.24`, `Podman Engine 4.3.1`. */
  readonly name: string
  /** API version that both sides speak: what requests are made with. */
  readonly api: string
  readonly os: string
  readonly arch: string
}

export interface EngineRequest {
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  /** Sent as JSON; bytes and streams are sent as they are (a tar for `/build` or `/images/load`). */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
  /** Until the answer is there whole (`json`) or begins (`stream`). null = no bound, for waits. Default `LIMITS.engineCallMs`. */
  readonly timeoutMs?: number | null
  /**
   * Repeat while the engine can't be reached, for `LIMITS.engineRetryMs`. Default: true, since calls carry names that make them safe to
   * repeat. Give false for what must not happen twice (starting an exec), and for streams of bytes that can be read once only.
   */
  readonly isRepeatable?: boolean
}

export interface EngineStream {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly body: AsyncIterable<Buffer>
}

/**
 * A container engine that speaks the Docker Engine HTTP API: Docker, or Podman's compatible socket. Paths come without the version prefix
 * (`/containers/json`); it is negotiated. Calls reject with ENGINE_UNREACHABLE (try again) when nobody answers, and with `EngineRefusal`
 * when the engine answers 4xx or 5xx.
 */
export interface ContainerEngine {
  /** `unix:///var/run/docker.sock`, for people. */
  readonly address: string
  /** Whether files and processes of the engine's host are this host's: a socket in the file system. */
  readonly isLocal: boolean
  /** Whether the last call reached it. */
  readonly isReachable: boolean
  version(signal?: AbortSignal): Promise<EngineVersion>
  /** The answer parsed; undefined for an empty one. The body is bounded by `LIMITS.engineBodyBytes`. */
  json<Answer>(method: EngineMethod, path: string, request?: EngineRequest): Promise<Answer>
  /** The answer as it comes, unbounded: logs, events, pull progress, tars. Ends early by the signal, or by leaving the loop. */
  stream(method: EngineMethod, path: string, request?: EngineRequest): Promise<EngineStream>
  close(): Promise<void>
}

export type EngineMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE'

/** The engine answered, and refused. `message` is its own, printable. */
export class EngineRefusal extends Error {
  readonly status: number

  constructor(status: number, message: string) {
    super(message)
    this.name = 'EngineRefusal'
    this.status = status
  }
}

export function isRefusal(error: unknown, ...statuses: readonly number[]): error is EngineRefusal {
  return error instanceof EngineRefusal && (statuses.length === 0 || statuses.includes(error.status))
}
