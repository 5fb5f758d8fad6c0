import type { Detector } from './detector.ts'
import { procfileWeb } from './procfile.ts'

const ENTRIES = ['main.ts', 'server.ts', 'main.js', 'mod.ts', 'index.ts', 'src/main.ts'] as const

/** Before Node.js: a deno.json beside a package.json means that Deno runs it. */
export const denoDetector: Detector = {
  name: 'deno',
  async detect(files, { isStartKnown }) {
    const marker = (await files.has('deno.json')) ? 'deno.json' : (await files.has('deno.jsonc')) ? 'deno.jsonc' : null
    if (marker === null) return { found: false, lookedFor: 'a deno.json', because: null }
    const text = (await files.readIfText(marker)) ?? ''
    const hasTask = (name: string) => new RegExp(`"${name}"\\s*:\\s*["{]`).test(/"tasks"\s*:\s*\{([\s\S]*)/.exec(text)?.[1] ?? '')
    const entry = (await Promise.all(ENTRIES.map(async (name) => ((await files.has(name)) ? name : null)))).find((name) => name !== null)
    const own =
      (await procfileWeb(files)) ?? (hasTask('start') ? 'deno task start' : entry === undefined ? null : `deno run --allow-all ${entry}`)
    if (own === null && !isStartKnown) {
      if (await files.has('package.json')) return { found: false, lookedFor: 'a deno.json', because: null }
      const because = `${marker} is there (Deno), but no start task and none of ${ENTRIES.join(', ')}: say it in shiplock.yaml as run.start`
      return { found: false, lookedFor: 'a Deno app', because }
    }
    // In the tree, since the home of a build is not deployed.
    const cache = 'export DENO_DIR="$PWD/.deno"; '
    const build = [
      ...(hasTask('build') ? [`${cache}deno task build`] : []),
      ...(entry === undefined ? [] : [`${cache}deno cache ${entry}`]),
    ]
    return {
      found: true,
      what: `Deno app (${marker})`,
      input: {
        build: { base: 'deno', buildCommands: build, deployFiles: ['./'] },
        ...(own === null || isStartKnown ? {} : { run: { base: 'deno', start: `${cache}exec ${own}` } }),
      },
      reasons: [`${marker} is there${own === null ? '' : `: \`${own}\``}`],
    }
  },
}
