import { ShiplockError } from '../../core/errors.ts'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { ServiceInput } from '../manifest/schema.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detector } from './detector.ts'
import { type Installer, installerFor } from './node-installer.ts'
import { isDevServer, staticOutput } from './node-static.ts'
import { procfileWeb } from './procfile.ts'

/** What is read from a package.json; anything of a wrong type counts as absent. */
export interface PackageJson {
  readonly main: string | null
  readonly scripts: ReadonlyMap<string, string>
  readonly dependencies: ReadonlySet<string>
  readonly nodeVersion: string | null
  readonly packageManager: string | null
}

const ENTRIES = ['server.js', 'server.mjs', 'index.js', 'index.mjs', 'app.js', 'main.js', 'src/server.js', 'src/index.js'] as const

/** A start script that only names node and its arguments may run without npm between it and its signals. */
const PLAIN_NODE = /^node(\s+[\w@%+=:,./-]+)+$/

export const nodeDetector: Detector = {
  name: 'node',
  async detect(files, { isStartKnown }) {
    const text = await files.read('package.json', LIMITS.detectFileBytes)
    if (text === null) return { found: false, lookedFor: 'a package.json', because: null }
    const manifest = parsePackageJson(text)
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
    const start = await startOf(files, manifest, installer)
    if (start !== null)
      return found({ build: { ...build, deployFiles: ['./'] }, run: { start: start.command } }, [...reasons, start.reason])
    const output = buildScript === null ? null : staticOutput(manifest)
    if (output !== null) {
      const input = { build: { ...build, deployFiles: [output.directory] }, run: { staticRoot: output.directory } }
      return found(input, [...reasons, `${output.tool} builds a static site: ${output.directory} is served`], 'static site')
    }
    return {
      found: false,
      lookedFor: 'a package.json with something to start',
      because: `package.json has no start script, its main does not exist, and there is none of ${ENTRIES.join(', ')}`,
    }
  },
}

function found(input: ServiceInput, reasons: readonly string[], kind = 'Node.js app') {
  return { found: true, what: `${kind} (package.json)`, input, reasons } as const
}

async function startOf(
  files: SourceFiles,
  manifest: PackageJson,
  installer: Installer,
): Promise<{ command: string; reason: string } | null> {
  const web = await procfileWeb(files)
  if (web !== null) return { command: web, reason: `Procfile names the web process: \`${printable(web)}\`` }
  const script = manifest.scripts.get('start')?.trim()
  if (script !== undefined && script !== '' && !(isDevServer(script) && staticOutput(manifest) !== null)) {
    const hooked = manifest.scripts.has('prestart') || manifest.scripts.has('poststart')
    if (PLAIN_NODE.test(script) && !hooked)
      return { command: script, reason: `package.json has a start script: \`${script}\`, run without npm so that signals reach it` }
    return { command: installer.run('start'), reason: `package.json has a start script: \`${installer.run('start')}\`` }
  }
  const candidates = manifest.main === null ? ENTRIES : [manifest.main, ...ENTRIES]
  for (const file of candidates) {
    if (!/^[\w@+=,./-]+$/.test(file) || file.startsWith('-') || file.startsWith('/') || file.split('/').includes('..')) continue
    if (await files.has(file)) return { command: `node ${file}`, reason: `${file} is there and no start script: \`node ${file}\`` }
  }
  return null
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
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim().replace(/^\.\//, '') : null
}
