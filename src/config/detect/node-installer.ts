import type { SourceFiles } from '../source-files.ts'
import type { PackageJson } from './node-manifest.ts'

/** How packages are installed and scripts are run. */
export interface Installer {
  readonly install: readonly string[]
  readonly env: Readonly<Record<string, string>> | null
  readonly reasons: readonly string[]
  run(script: string): string
}

/** What a build needs stands among the development dependencies too, also where NODE_ENV is production. */
const NPM_DEV = '--include=dev'
const npmRun = (script: string) => (script === 'start' ? 'npm start' : `npm run ${script}`)

/** `pnpm@9.1.0+sha512.…` → name and exact version; anything else counts as not there. */
function pinned(manifest: PackageJson, name: string): string | null {
  const found = /^([a-z]{2,10})@(\d{1,6}\.\d{1,6}\.\d{1,6}(?:-[\w.]{1,30})?)(?:\+[\w.=/-]{1,200})?$/.exec(manifest.packageManager ?? '')
  return found?.[1] === name ? (found[2] ?? null) : null
}

/** The package manager of the lock file's format, where the project pins none. */
const PNPM_OF_LOCK: Readonly<Record<string, string>> = { '5': '7', '6': '8', '9': '10' }

/**
 * By lock file, as the owner's own machine would do it. pnpm and yarn come from the npm registry in the version that the project pins,
 * for the build only: corepack needs signatures that mirrors strip, and is gone from Node 25 on.
 */
export async function installerFor(files: SourceFiles, manifest: PackageJson): Promise<Installer> {
  if (await files.has('pnpm-lock.yaml')) return pnpm(files, manifest)
  if (await files.has('yarn.lock')) return yarn(files, manifest)
  for (const lock of ['bun.lock', 'bun.lockb']) {
    if (await files.has(lock)) return chosen(lock, 'bun install --frozen-lockfile', (script) => `bun run ${script}`)
  }
  for (const lock of ['package-lock.json', 'npm-shrinkwrap.json']) {
    if (await files.has(lock)) return chosen(lock, `npm ci ${NPM_DEV}`, npmRun)
  }
  if (manifest.dependencies.size === 0) {
    return { install: [], env: null, reasons: ['package.json has no dependencies and no lock file: nothing is installed'], run: npmRun }
  }
  return {
    install: [`npm install ${NPM_DEV}`],
    env: null,
    reasons: ['package.json has dependencies but no lock file: `npm install` (commit a lock file to get the same versions each time)'],
    run: npmRun,
  }
}

function chosen(lock: string, install: string, run: Installer['run'], env: Installer['env'] = null): Installer {
  return { install: [install], env, reasons: [`${lock} is there: \`${install}\``], run }
}

async function pnpm(files: SourceFiles, manifest: PackageJson): Promise<Installer> {
  const lock = (await files.readIfText('pnpm-lock.yaml')) ?? ''
  const format = /^lockfileVersion:\s*['"]?(\d{1,3})/m.exec(lock.slice(0, 1000))?.[1] ?? '9'
  const version = pinned(manifest, 'pnpm') ?? PNPM_OF_LOCK[format] ?? '10'
  const call = `npx --yes pnpm@${version}`
  return chosen('pnpm-lock.yaml', `${call} install --frozen-lockfile --prod=false`, (script) => `${call} run ${script}`)
}

async function yarn(files: SourceFiles, manifest: PackageJson): Promise<Installer> {
  const settings = (await files.readIfText('.yarnrc.yml')) ?? null
  const version = pinned(manifest, 'yarn')
  const isModern = settings !== null || (version !== null && !version.startsWith('1.'))
  if (!isModern) {
    const call = `npx --yes yarn@${version ?? '1.22.22'}`
    return chosen('yarn.lock', `${call} install --frozen-lockfile --production=false`, (script) => `${call} run ${script}`)
  }
  const committed = /^yarnPath:\s*["']?(\.yarn\/releases\/[\w.-]{1,80}\.c?js)["']?\s*$/m.exec(settings ?? '')?.[1]
  const call =
    committed !== undefined && (await files.has(committed))
      ? `node ${committed}`
      : `npx --yes --package @yarnpkg/cli-dist@${version ?? '4'} yarn`
  // Plug'n'Play puts packages where only yarn finds them: nothing could be started without it.
  const env = { YARN_NODE_LINKER: 'node-modules', YARN_ENABLE_TELEMETRY: '0' }
  return chosen('yarn.lock', `${call} install --immutable`, (script) => `${call} run ${script}`, env)
}
