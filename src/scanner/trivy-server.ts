import type { ScannerHealth } from './scanner.ts'
import type { TrivyOptions } from './trivy-command.ts'

type Server = NonNullable<TrivyOptions['server']>

const ASK_MS = 5000
/** What every scan asks first (rpc/cache/service.proto of Trivy): a question about an artifact that nobody has. It changes nothing. */
const PATH = 'twirp/trivy.cache.v1.Cache/MissingBlobs'
const QUESTION = JSON.stringify({ artifact_id: 'sha256:0', blob_ids: [] })

/** Whether a Trivy server answers there and takes the token. */
export async function checkTrivyServer({ url, token }: Server, signal: AbortSignal): Promise<ScannerHealth> {
  const where = `databases at ${url}`
  try {
    const answer = await fetch(new URL(PATH, url.endsWith('/') ? url : `${url}/`), {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...(token === null ? {} : { 'trivy-token': token }) },
      body: QUESTION,
      // The token is for this server alone.
      redirect: 'manual',
      signal: AbortSignal.any([signal, AbortSignal.timeout(ASK_MS)]),
    })
    await answer.body?.cancel()
    if (answer.status === 200) return { ok: true, summary: where, hint: null }
    if (answer.status === 401 || answer.status === 403) {
      return { ok: false, summary: `${where}, which refuses the token: every scan fails`, hint: 'Correct SHIPLOCK_TRIVY_TOKEN.' }
    }
    const hint = 'Check SHIPLOCK_TRIVY_SERVER: it names what `trivy server` listens on.'
    return { ok: false, summary: `${where}, where something answers ${answer.status}: it is no Trivy server`, hint }
  } catch (error) {
    signal.throwIfAborted()
    const cause = (error as { cause?: { code?: string } }).cause?.code ?? (error as Error).message
    return {
      ok: false,
      summary: `${where}, which does not answer (${cause}): every scan fails`,
      hint: 'Start it, or correct SHIPLOCK_TRIVY_SERVER.',
    }
  }
}
