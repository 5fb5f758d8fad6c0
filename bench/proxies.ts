import { benchEdge } from './edge.ts'
import { findProgram } from './edge-rivals.ts'
import type { Row, Section } from './report.ts'

/** Per DESIGN.md §10: at least this many times less CPU than Caddy; nginx takes 14 µs where the edge may take 22. */
const CADDY_RATIO = 1 / 1.5
const NGINX_RATIO = 22 / 14

export async function benchProxies(seconds: number, rounds: number): Promise<Section> {
  const name = 'edge'
  const title = 'CPU time per proxied request, one core each, same upstream, interleaved rounds'
  const missing = ['nginx', 'wrk', 'taskset'].filter((program) => findProgram(program) === null)
  if (missing.length > 0) return { name, title, skipped: `not installed: ${missing.join(', ')}` }
  const report = await benchEdge({ seconds, rounds })
  const [edge, ...rivals] = report.proxies
  if (edge === undefined) throw new Error('the edge was not measured')
  const budgets: Readonly<Record<string, number>> = { nginx: NGINX_RATIO, caddy: CADDY_RATIO }
  const cpu = rivals.map((rival): Row => {
    const atMost = budgets[rival.name]
    const row: Row = {
      name: 'CPU per request',
      value: edge.cpuMicrosPerRequest,
      unit: 'µs',
      beside: { what: rival.name, value: rival.cpuMicrosPerRequest },
    }
    return atMost === undefined ? row : { ...row, budget: { of: 'ratio', atMost } }
  })
  const rate = rivals.map(
    (rival): Row => ({
      name: 'requests',
      value: edge.requestsPerSecond,
      unit: '/s',
      beside: { what: rival.name, value: rival.requestsPerSecond },
    }),
  )
  const errors: Row = { name: 'errors', value: edge.errors, unit: '', budget: { atMost: 0 } }
  return { name, title, rows: [...cpu, ...rate, errors], figures: report }
}
