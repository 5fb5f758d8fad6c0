import { startTestServer, type TestServer } from '../test/support/server.ts'
import { BenchApp } from './app.ts'
import { cpuSecondsOf, memoryOf } from './process-figures.ts'
import { Program } from './program.ts'
import type { Section } from './report.ts'

const SERVICE = 'logs'
const PROCESSES = 2

interface Readers {
  readonly problems: readonly string[]
  readonly problemCount: number
  readonly fewest: number
  readonly most: number
  readonly lines: number
  readonly p50: number
  readonly p99: number
  readonly max: number
}

interface Run {
  readonly all: readonly Readers[]
  readonly cpuSeconds: number
  readonly seconds: number
  readonly rssMiB: number
}

/**
 * One build prints lines, each with the time; the readers take them from the real API, go away once and come back. The delay is the whole
 * way: build process → log writer → database → notice → stream → reader.
 */
export async function benchFanOut(readers: number, lines: number, everyMs: number): Promise<Section> {
  const app = new BenchApp(SERVICE)
  const server = await startTestServer({ env: { SHIPLOCK_LOG_LEVEL: 'warn' } })
  try {
    const one = await run(server, app, 'one', { readers: 1, lines, everyMs })
    const many = await run(server, app, 'many', { readers, lines, everyMs })
    const worst = (of: (figures: Readers) => number) => Math.max(...many.all.map(of))
    const lost = many.all.filter((figures) => figures.problemCount > 0 || figures.fewest !== lines || figures.most !== lines)
    const delivered = many.all.reduce((sum, figures) => sum + figures.lines, 0)
    const beside = (value: number | undefined) => ({ what: 'with one reader', value: value ?? 0 })
    return {
      name: 'fan-out',
      title: `${readers} readers of one log that grows by ${(1000 / everyMs).toFixed(0)} lines/s, each reconnecting once`,
      rows: [
        {
          name: 'reader processes that missed or repeated a line',
          value: lost.length,
          unit: '',
          budget: { atMost: 0 },
          note:
            lost.length === 0
              ? `${delivered} lines delivered, each exactly once`
              : lost
                  .flatMap((readers) => readers.problems)
                  .slice(0, 3)
                  .join('; '),
        },
        { name: 'delay, p50', value: worst((figures) => figures.p50), unit: 'ms', beside: beside(one.all[0]?.p50) },
        { name: 'delay, p99', value: worst((figures) => figures.p99), unit: 'ms', beside: beside(one.all[0]?.p99) },
        { name: 'delay, longest', value: worst((figures) => figures.max), unit: 'ms', budget: { atMost: 1000 } },
        { name: 'server CPU per delivered line', value: (many.cpuSeconds * 1e6) / delivered, unit: 'µs' },
        { name: 'server CPU of one core', value: (many.cpuSeconds / many.seconds) * 100, unit: '%' },
        { name: 'server resident', value: many.rssMiB, unit: 'MiB', beside: beside(one.rssMiB) },
      ],
      figures: { one, many },
    }
  } finally {
    await server.dispose()
    app.remove()
  }
}

async function run(
  server: TestServer,
  app: BenchApp,
  version: string,
  load: { readers: number; lines: number; everyMs: number },
): Promise<Run> {
  // The pause lets the readers be there before the first line; one that came later would be told of the lines before it all the same.
  const script = `let n=0;const t=setInterval(()=>{console.log('tick '+Date.now());if(++n===${load.lines})clearInterval(t)},${load.everyMs})`
  app.commit(version, { build: { buildCommands: [`sleep 3; node -e "${script}"`] }, deploy: { bake: 0 } })
  const { id } = await server.deploy({ service: SERVICE, source: app.source })
  const per = Math.ceil(load.readers / PROCESSES)
  const counts = load.readers < PROCESSES ? [load.readers] : Array.from({ length: PROCESSES }, () => per)
  const programs = counts.map((count) => new Program('sse-readers', [`${server.apiUrl}/v1/deployments/${id}/logs`, server.token, count]))
  try {
    for (const program of programs) await program.said()
    const from = performance.now()
    const cpu = cpuSecondsOf([server.pid])
    const all = await Promise.all(programs.map((program) => program.said<Readers>()))
    return {
      all,
      cpuSeconds: cpuSecondsOf([server.pid]) - cpu,
      seconds: (performance.now() - from) / 1000,
      rssMiB: memoryOf([server.pid]).rss,
    }
  } finally {
    for (const program of programs) await program.stop()
    await server.settled(id)
  }
}
