// Which folder of src/ may import which: the one table. `npm run check` holds every file to it; AGENTS.md's table is printed from it.
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The interface file of every driver: what stages and the engine know of sources, builders, runtimes and so on. */
const DRIVER_INTERFACES = [
  'artifacts/artifact-store.ts',
  'builders/builder.ts',
  'builders/build-caches.ts',
  'builders/image-assembler.ts',
  'builders/runtime-layers.ts',
  'edge/edge.ts',
  'registry/image-store.ts',
  'registry/registry.ts',
  'runtimes/runtime.ts',
  'sandbox/sandbox.ts',
  'scanner/leak-scanner.ts',
  'scanner/scanner.ts',
  'sources/source.ts',
]

/**
 * Folder → what its files may import besides itself: whole folders and single files. `packages` = npm packages, where only few may be
 * used. A folder of src/ that is not named here is refused, so that each enters the table before its first file.
 * @type {Readonly<Record<string, { readonly may: readonly string[] | 'everything', readonly says: string, readonly packages?: readonly string[] }>>}
 */
export const LAYERS = {
  domain: { may: [], says: 'nothing', packages: [] },
  core: { may: ['domain'], says: 'domain' },
  contract: { may: ['domain'], says: 'domain, zod', packages: ['zod'] },
  config: { may: ['core', 'domain'], says: 'core, domain' },
  sandbox: { may: ['core', 'domain'], says: 'core, domain' },
  'container-engine': { may: ['core', 'domain'], says: 'core, domain' },
  artifacts: { may: ['core', 'domain'], says: 'core, domain' },
  scanner: { may: ['core', 'domain'], says: 'core, domain' },
  edge: { may: ['core', 'domain'], says: 'core, domain' },
  sources: { may: ['core', 'domain', 'container-engine'], says: 'core, domain, container-engine' },
  registry: { may: ['core', 'domain', 'container-engine'], says: 'core, domain, container-engine' },
  builders: {
    may: ['core', 'domain', 'container-engine', 'sandbox/sandbox.ts'],
    says: "core, domain, container-engine, the sandbox's interface",
  },
  runtimes: {
    may: ['core', 'domain', 'container-engine', 'sandbox/sandbox.ts'],
    says: "core, domain, container-engine, the sandbox's interface",
  },
  'static-server': { may: ['core'], says: 'core' },
  store: { may: ['core', 'domain'], says: 'core, domain' },
  stages: { may: ['core', 'domain', ...DRIVER_INTERFACES], says: 'core, domain, the interface files of the drivers' },
  engine: {
    may: ['core', 'domain', 'store', 'stages', 'engine/commands', ...DRIVER_INTERFACES],
    says: 'core, domain, store, stages, the interface files of the drivers',
  },
  'engine/commands': { may: ['core', 'domain', 'store'], says: 'core, domain, store: what every face calls' },
  api: {
    may: ['core', 'contract', 'domain', 'store', 'config', 'engine/commands'],
    says: 'core, contract, domain, store, config, `engine/commands/`',
  },
  cli: {
    may: ['contract', 'core', 'config', 'domain', 'sources/pack-directory.ts'],
    says: 'contract, core, config, domain, `sources/pack-directory.ts`',
  },
  server: { may: 'everything', says: 'everything (composition)' },
}

/** Files of src/ itself, which belong to no folder. */
const ROOT_FILES = { 'main.ts': ['config', 'core', 'server'] }

const IMPORT = /(?:\bfrom|\bimport)\s*\(?\s*'([^']{1,300})'/g

/**
 * What one file imports that it may not, each as a sentence.
 * @param {string} file path below src/, with `/`
 * @param {string} text
 */
export function forbiddenImports(file, text) {
  const folder = layerOf(file)
  const rule = file.includes('/') ? LAYERS[folder] : { may: ROOT_FILES[file], says: (ROOT_FILES[file] ?? []).join(', ') }
  if (rule?.may === undefined) return [`src/${file}: ${folder}/ is not named in scripts/layers.mjs: say there what it may import`]
  const findings = []
  for (const [index, line] of text.split('\n').entries()) {
    for (const [, name] of line.matchAll(IMPORT)) {
      const reason = refusal(file, folder, rule, name)
      if (reason !== null) findings.push(`src/${file}:${index + 1}: ${reason}`)
    }
  }
  return findings
}

/** The named folder that a file belongs to: the deepest. */
function layerOf(file) {
  const parts = file.split('/')
  const inner = parts.slice(0, 2).join('/')
  return parts.length > 2 && inner in LAYERS ? inner : parts[0]
}

function refusal(file, folder, rule, name) {
  if (!name.startsWith('.')) {
    const isAllowed = rule.packages === undefined || name.startsWith('node:') || rule.packages.includes(name.split('/')[0])
    return isAllowed ? null : `${folder}/ may not import the package ${name}`
  }
  const target = relative('src', join('src', dirname(file), name))
  if (
    layerOf(target) === folder ||
    rule.may === 'everything' ||
    rule.may.some((allowed) => target === allowed || target.startsWith(`${allowed}/`))
  )
    return null
  return `${folder}/ may import ${rule.says}; not ${target}`
}

/** The table of AGENTS.md. */
export function layerTable() {
  const groups = new Map()
  for (const [folder, { says }] of Object.entries(LAYERS)) groups.set(says, [...(groups.get(says) ?? []), `\`${folder}\``])
  const rows = [...groups].map(([says, folders]) => `| ${folders.join(', ')} | ${says} |`)
  return ['', '| folder | may import, besides itself |', '| --- | --- |', ...rows, ''].join('\n')
}

/** Every violation below `root`/src; tests are free to import what they test with. */
export function checkLayers(root) {
  const source = join(root, 'src')
  const files = readdirSync(source, { recursive: true }).filter((file) => /\.tsx?$/.test(file) && !/\.test\.tsx?$/.test(file))
  return files.sort().flatMap((file) => forbiddenImports(file, readFileSync(join(source, file), 'utf8')))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const findings = checkLayers(fileURLToPath(new URL('..', import.meta.url)))
  for (const finding of findings) process.stderr.write(`${finding}\n`)
  process.exitCode = findings.length === 0 ? 0 : 1
}
