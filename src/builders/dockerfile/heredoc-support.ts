/** Docker's releases with BuildKit 0.10, the first whose own frontend has here-documents. */
const ENGINE_SINCE = 23
/** Of docker/dockerfile: 1.4 and later, the labs versions from 1.3 on, and the names that move with the newest. */
const FRONTEND = /^(?:docker\.io\/)?docker\/dockerfile(?:-upstream)?:([\w.-]+)(?:@sha256:[0-9a-f]{64})?$/
const YOUNG_TAG = /^(?:latest|labs|master|master-labs|1|1-labs|1\.3-labs|1\.(?:[4-9]|\d{2,})(?:\.\d+)?(?:-labs)?)$/

/** Whether what reads a Dockerfile knows here-documents: the frontend that it names, else the engine's own. `engine`: `Docker Engine 23.0.1`. */
export function knowsHeredocs(syntax: string | null, engine: string): boolean {
  if (syntax !== null) return YOUNG_TAG.test(FRONTEND.exec(syntax)?.[1] ?? '')
  return Number.parseInt(/(\d+)\.\d+/.exec(engine)?.[1] ?? '0', 10) >= ENGINE_SINCE
}
