import type { SourceFiles } from '../source-files.ts'
import type { PackageJson } from './node.ts'

/** How packages are installed and scripts are run. */
export interface Installer {
  readonly install: readonly string[]
  readonly env: Readonly<Record<string, string>> | null
  readonly reasons: readonly string[]
  run(script: string): string
}

/** Corepack asks before it downloads a package manager; a build has nobody to ask. */
const COREPACK_ENV = { COREPACK_ENABLE_DOWNLOAD_PROMPT: '0' }

/** By lock file, as the owner's own machine would do it. pnpm and yarn come through corepack, which every Node.js up to 24 has. */
export async function installerFor(files: SourceFiles, manifest: PackageJson): Promise<Installer> {
  const npmRun = (script: string) => (script === 'start' ? 'npm start' : `npm run ${script}`)
  const chosen = (lock: string, install: string, env: Installer['env'], run: Installer['run']): Installer => ({
    install: [install],
    env,
    reasons: [`${lock} is there: \`${install}\``],
    run,
  })
  if (await files.has('pnpm-lock.yaml'))
    return chosen('pnpm-lock.yaml', 'corepack pnpm install --frozen-lockfile', COREPACK_ENV, (script) => `corepack pnpm run ${script}`)
  if (await files.has('yarn.lock')) {
    const isModern = (await files.has('.yarnrc.yml')) || /^yarn@([2-9]|\d{2,})/.test(manifest.packageManager ?? '')
    const install = `corepack yarn install ${isModern ? '--immutable' : '--frozen-lockfile'}`
    return chosen('yarn.lock', install, COREPACK_ENV, (script) => `corepack yarn run ${script}`)
  }
  for (const lock of ['bun.lock', 'bun.lockb'])
    if (await files.has(lock)) return chosen(lock, 'bun install --frozen-lockfile', null, (script) => `bun run ${script}`)
  for (const lock of ['package-lock.json', 'npm-shrinkwrap.json']) if (await files.has(lock)) return chosen(lock, 'npm ci', null, npmRun)
  if (manifest.dependencies.size === 0)
    return { install: [], env: null, reasons: ['package.json has no dependencies and no lock file: nothing is installed'], run: npmRun }
  return {
    install: ['npm install'],
    env: null,
    reasons: ['package.json has dependencies but no lock file: `npm install` (commit a lock file to get the same versions each time)'],
    run: npmRun,
  }
}
