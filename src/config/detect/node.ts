import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { ServiceInput } from '../manifest/schema.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detector } from './detector.ts'
import { type FrameworkPlan, frameworkPlan } from './node-frameworks.ts'
import { installerFor } from './node-installer.ts'
import { type PackageJson, parsePackageJson } from './node-manifest.ts'
import { isDevServer, startOfScript } from './node-scripts.ts'
import { membersBelow, needsOutside, type Refusal } from './node-workspace.ts'
import { procfileWeb } from './procfile.ts'

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
/** Who has one of these among its dependencies answers requests itself. */
const SERVER_LIBRARIES = ['express', 'fastify', 'koa', 'hono', '@hono/node-server', '@hapi/hapi', 'restify', 'polka', 'h3'] as const
/** Where compilers write to. */
const BUILT = /^(?:dist|build|lib|out)\//

/** What runs TypeScript as it is. */
const TYPESCRIPT_RUNNERS = ['tsx', 'ts-node'] as const

export const nodeDetector: Detector = {
  name: 'node',
  async detect(files, { isStartKnown }) {
    const text = await files.read('package.json', LIMITS.detectFileBytes)
    if (text === null) return { found: false, lookedFor: 'a package.json', because: null }
    const manifest = parsePackageJson(text)
    const lookedFor = 'a package.json with something to start'
    const outside = await needsOutside(files, manifest)
    if (outside !== null) return { found: false, lookedFor, ...outside }
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
    if (plan === null) return { found: false, lookedFor, ...(await nothingToStart(files, manifest)) }
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
  const entry = await entryOf(files, manifest)
  // Pages that a tool of sites builds for a server beside them are the server's.
  if (framework?.kind === 'static' && entry !== null && SERVER_LIBRARIES.some((name) => manifest.dependencies.has(name))) return entry
  if (framework !== null) return framework
  const nx = await nxOutput(files, manifest)
  if (nx !== null) return nx
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
    if (file === manifest.main && BUILT.test(file) && manifest.scripts.has('build'))
      return { kind: 'server', start: `node ${file}`, reason: `main names what the build makes: \`node ${file}\`` }
  }
  const runner = TYPESCRIPT_RUNNERS.find((name) => manifest.dependencies.has(name))
  if (runner === undefined) return null
  for (const file of TYPESCRIPT_ENTRIES) {
    const start = `exec node_modules/.bin/${runner} ${file}`
    if (await files.has(file)) return { kind: 'server', start, reason: `${file} is there and no start script: \`${start}\`` }
  }
  return null
}

/** Why nothing of a package.json can be started, and the one thing to do. */
async function nothingToStart(files: SourceFiles, manifest: PackageJson): Promise<Refusal> {
  const others = await membersBelow(files, manifest)
  if (others !== null) return others
  const main = manifest.main === null ? 'it names no main' : `its main, ${printable(manifest.main)}, does not exist`
  return { because: `package.json has no start script, ${main}, and there is none of ${ENTRIES.join(', ')}` }
}
