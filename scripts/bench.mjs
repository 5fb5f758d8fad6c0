// npm run bench: builds, then measures. `npm run bench -- NAME …` runs only those; `--quick` takes seconds instead of minutes;
// `--json=FILE` says where the figures go, `--docs` puts them into docs/benchmarks.md. Needs the development packages: the benchmarks are TypeScript, bundled for plain Node.
import { mkdirSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { assertNode, build, installPackages, ROOT } from './setup.mjs'

assertNode()
installPackages()
build()
process.chdir(ROOT)
mkdirSync(join(ROOT, '.shiplock'), { recursive: true })
const { main } = await import(await bundle())
process.exitCode = await main(process.argv.slice(2))

/** Two levels below the root, as the sources are: what they find relative to themselves is found from here too. */
async function bundle() {
  const file = join(ROOT, '.shiplock', 'bench', 'main.mjs')
  const vitest = createRequire(createRequire(import.meta.url).resolve('vitest/package.json'))
  const vite = createRequire(vitest.resolve('vite/package.json'))
  const { build: rolldown } = await import(vite.resolve('rolldown'))
  await rolldown({
    input: join(ROOT, 'bench', 'main.ts'),
    platform: 'node',
    logLevel: 'silent',
    external: [/^[^./]/],
    output: { file, format: 'esm', codeSplitting: false },
  })
  return file
}
