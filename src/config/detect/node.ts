import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { ServiceInput } from '../manifest/schema.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detector } from './detector.ts'
import { type FrameworkPlan, frameworkPlan } from './node-frameworks.ts'
import { installerFor } from './node-installer.ts'
import { isDevServer, startOfScript } from './node-scripts.ts'
import { procfileWeb } from './procfile.ts'

/** What is read from a package.json; anything of a wrong type counts as absent. */
export interface PackageJson {
  readonly main: string | null
  readonly scripts: ReadonlyMap<string, string>
  readonly dependencies: ReadonlySet<string>
  readonly nodeVersion: string | null
  readonly packageManager: string | null
  /** Dependencies that a workspace around this directory provides. */
  readonly outside: readonly string[]
}

const ENTRIES = [
  'server.js',
  'server.mjs',
  'index.js',
  'index.mjs',
  'app.js',
  'main.js',
  'bin/www',
  'src/server.js',
  'src/index.js',
  'src/app.js',
  'src/main.js',
] as const
const TYPESCRIPT_ENTRIES = [
  'server.ts',
  'index.ts',
  'app.ts',
  'main.ts',
  'src/server.ts',
  'src/index.ts',
  'src/app.ts',
  'src/main.ts',
] as const
/** What runs TypeScript as it is. */
const TYPESCRIPT_RUNNERS = ['tsx', 'ts-node'] as const

export const nodeDetector: Detector = {
  name: 'node',
  async detect(files, { isStartKnown }) {
    const text = await files.read('package.json', LIMITS.detectFileBytes)
    if (text === null) return { found: false, lookedFor: 'a package.json', because: null }
    const manifest = parsePackageJson(text)
    const lookedFor = 'a package.json with something to start'
    const outside = outsideMembers(manifest)
    if (outside !== null && !(await hasLock(files))) return { found: false, lookedFor, because: outside }
    const installer = await installerFor(files, manifest)
    const reasons = [...installer.reasons]
    if (manifest.nodeVersion !== null)
      reasons.push(`engines.node asks for ${printable(manifest.nodeVersion)}; the Node.js of the runtime is used`)
    const buildScript = manifest.scripts.get('build') ?? null
    if (buildScript !== null) reasons.push(`package.json has a build script: \`${installer.run('build')}\``)
    const build = {
      ...(installer.env === null ? {} : { env: installer.env }),
      buildCommands: [...installer.install, ...(buildScript === null ? [] : [installer.run('build')])],
    }
    if (isStartKnown) return found({ build: { ...build, deployFiles: ['./'] } }, reasons)
    const plan = await planOf(files, manifest)
    if (plan === null) return { found: false, lookedFor, because: await nothingToStart(files) }
    if (plan.kind === 'refused') return { found: false, lookedFor, because: plan.because }
    if (plan.kind === 'static') {
      const run = { staticRoot: plan.directory, ...(plan.isSinglePage ? { site: { singlePage: true } } : {}) }
      return found({ build: { ...build, deployFiles: [plan.directory] }, run }, [...reasons, plan.reason], 'static site')
    }
    const buildCommands = [...build.buildCommands, ...(plan.afterBuild ?? [])]
    return found({ build: { ...build, buildCommands, deployFiles: ['./'] }, run: { start: plan.start } }, [...reasons, plan.reason])
  },
}

function found(input: ServiceInput, reasons: readonly string[], kind = 'Node.js app') {
  return { found: true, what: `${kind} (package.json)`, input, reasons } as const
}

/**
 * What its owner says comes first: a Procfile, then a start script that is no development server. Then what the framework makes, and at
 * last a file that looks like an entry. `start:prod` is what frameworks call the script for production where `start` is not.
 */
async function planOf(files: SourceFiles, manifest: PackageJson): Promise<FrameworkPlan | null> {
  const web = await procfileWeb(files)
  if (web !== null) return { kind: 'server', start: web, reason: `Procfile names the web process: \`${printable(web)}\`` }
  const isForDevelopment = isDevServer(manifest.scripts.get('start') ?? '')
  const production = ['start:prod', 'start:production', 'serve:prod'].find((name) => manifest.scripts.has(name))
  const script = isForDevelopment && production !== undefined ? startOfScript(manifest, production) : null
  if (script !== null) return { kind: 'server', start: script.command, reason: script.reason }
  const start = startOfScript(manifest, 'start')
  const framework = manifest.scripts.has('build') || start === null || isForDevelopment ? await frameworkPlan(files, manifest) : null
  // A site that its build makes is served better than by the script that shows it to its author.
  if (start !== null && !isForDevelopment && framework?.kind !== 'static') {
    return framework?.kind === 'server' && framework.afterBuild !== undefined
      ? framework
      : { kind: 'server', start: start.command, reason: start.reason }
  }
  if (start !== null && !isForDevelopment && !isViewer(manifest)) return { kind: 'server', start: start.command, reason: start.reason }
  if (framework !== null) return framework
  const nx = await nxOutput(files, manifest)
  if (nx !== null) return nx
  const entry = await entryOf(files, manifest)
  if (entry !== null) return entry
  return start === null ? null : { kind: 'server', start: start.command, reason: start.reason }
}

/** A start script that only shows the finished site: `serve -s build`, `http-server dist`, `next start` of an export. */
function isViewer(manifest: PackageJson): boolean {
  return /^(npx +)?(serve|http-server|sirv|next +start|live-server|vite +preview)\b/.test((manifest.scripts.get('start') ?? '').trim())
}

/** `nx serve` compiles on the way; what `nx build` makes stands in the project's file. */
async function nxOutput(files: SourceFiles, manifest: PackageJson): Promise<FrameworkPlan | null> {
  if (!manifest.dependencies.has('nx')) return null
  const path = /"outputPath"\s*:\s*"([\w-][\w./-]{0,120})"/.exec((await files.readIfText('project.json')) ?? '')?.[1]
  if (path === undefined || path.includes('..')) return null
  return { kind: 'server', start: `node ${path}/main.js`, reason: `project.json says where Nx builds to: \`node ${path}/main.js\`` }
}

async function entryOf(files: SourceFiles, manifest: PackageJson): Promise<FrameworkPlan | null> {
  const candidates = manifest.main === null ? ENTRIES : [manifest.main, ...ENTRIES]
  for (const file of candidates) {
    if (!/^[\w@+=,./-]+$/.test(file) || file.startsWith('-') || file.startsWith('/') || file.split('/').includes('..')) continue
    if (await files.has(file))
      return { kind: 'server', start: `node ${file}`, reason: `${file} is there and no start script: \`node ${file}\`` }
  }
  const runner = TYPESCRIPT_RUNNERS.find((name) => manifest.dependencies.has(name))
  if (runner === undefined) return null
  for (const file of TYPESCRIPT_ENTRIES) {
    const start = `exec node_modules/.bin/${runner} ${file}`
    if (await files.has(file)) return { kind: 'server', start, reason: `${file} is there and no start script: \`${start}\`` }
  }
  return null
}

async function hasLock(files: SourceFiles): Promise<boolean> {
  for (const lock of ['package-lock.json', 'pnpm-lock.yaml', 'yarn.lock', 'bun.lock', 'bun.lockb', 'npm-shrinkwrap.json']) {
    if (await files.has(lock)) return true
  }
  return false
}

/** A member of a workspace, deployed alone: its siblings' names must not be asked for at a public registry. */
function outsideMembers(manifest: PackageJson): string | null {
  const [name] = manifest.outside
  if (name === undefined) return null
  return `package.json needs ${printable(name)} of the workspace around it, which is not part of what is deployed: deploy the top of the repository, with a shiplock.yaml there that says build.buildCommands and run.start of this member`
}

async function nothingToStart(files: SourceFiles): Promise<string> {
  const members = (await files.outline())
    .filter((path) => path.endsWith('/package.json') && path.split('/').length <= 3)
    .map((path) => path.slice(0, -'/package.json'.length))
  if (members.length > 0) {
    const shown = members.slice(0, 6).map((member) => `\`--root ${member}\``)
    return `package.json starts nothing; other directories have one of their own: ${shown.join(', ')}${members.length > 6 ? ' …' : ''}`
  }
  return `package.json has no start script, its main does not exist, and there is none of ${ENTRIES.join(', ')}`
}

function parsePackageJson(text: string): PackageJson {
  let data: unknown
  try {
    data = JSON.parse(text.replace(/^\uFEFF/, ''))
  } catch (error) {
    throw new ShiplockError('CONFIG_INVALID', `package.json is no valid JSON: ${printable((error as Error).message)}`, {
      hint: 'Correct package.json.',
      cause: error,
    })
  }
  const root = record(data)
  const dependencies = [...Object.keys(record(root.dependencies)), ...Object.keys(record(root.devDependencies))]
  return {
    main: textOf(root.main),
    scripts: new Map(Object.entries(record(root.scripts)).filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
    dependencies: new Set([...dependencies, ...Object.keys(record(root.optionalDependencies))]),
    nodeVersion: textOf(record(root.engines).node),
    packageManager: textOf(root.packageManager),
    outside: Object.entries({ ...record(root.devDependencies), ...record(root.dependencies) })
      .filter(([, version]) => typeof version === 'string' && version.startsWith('workspace:'))
      .map(([name]) => name),
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim().replace(/^\.\//, '') : null
}
