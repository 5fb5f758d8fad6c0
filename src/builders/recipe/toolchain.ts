import { ShiplockError } from '../../core/errors.ts'
import type { BuildSandbox } from './build-sandbox.ts'

interface Toolchain {
  readonly argv: readonly string[]
  /** Where the version stands in its output. */
  readonly version: RegExp
}

/** How the toolchains that a base can name tell their version. */
const TOOLCHAINS: Readonly<Record<string, Toolchain>> = {
  nodejs: { argv: ['node', '--version'], version: /^v(\d[\d.]*)/ },
  bun: { argv: ['bun', '--version'], version: /^(\d[\d.]*)/ },
  deno: { argv: ['deno', '--version'], version: /^deno (\d[\d.]*)/ },
  python: { argv: ['python3', '--version'], version: /^Python (\d[\d.]*)/ },
  go: { argv: ['go', 'version'], version: /go(\d[\d.]*)/ },
  ruby: { argv: ['ruby', '--version'], version: /^ruby (\d[\d.]*)/ },
  php: { argv: ['php', '--version'], version: /^PHP (\d[\d.]*)/ },
  rust: { argv: ['rustc', '--version'], version: /^rustc (\d[\d.]*)/ },
  java: { argv: ['java', '-version'], version: /version "(\d[\d.]*)/ },
  dotnet: { argv: ['dotnet', '--version'], version: /^(\d[\d.]*)/ },
  elixir: { argv: ['elixir', '--version'], version: /Elixir (\d[\d.]*)/ },
}
const ALIASES: Readonly<Record<string, string>> = { node: 'nodejs', python3: 'python', golang: 'go' }
/** Bases that need nothing on the host. */
const NEEDS_NOTHING = new Set(['static', 'none'])

interface CheckOptions {
  readonly sandbox: BuildSandbox
  readonly signal: AbortSignal
}

/** Refuses a base that this host does not have, in name or version; returns one line per base that was found. */
export async function checkBases(bases: readonly string[], options: CheckOptions): Promise<readonly string[]> {
  const found: string[] = []
  for (const base of bases) {
    const { name, wanted } = parseBase(base)
    if (NEEDS_NOTHING.has(name)) continue
    const toolchain = TOOLCHAINS[name]
    if (toolchain === undefined) throw unavailable(base, `it is none of ${Object.keys(TOOLCHAINS).join(', ')}`, await listHost(options))
    const version = await versionOf(toolchain, options)
    if (version === null) throw unavailable(base, 'it is not installed here', await listHost(options))
    if (!satisfies(version, wanted)) throw unavailable(base, `this host has ${name} ${version}`, await listHost(options))
    found.push(`base ${base}: ${name} ${version} of this host`)
  }
  return found
}

/** `nodejs@22` → nodejs, 22; also `node:22` and a bare name. */
export function parseBase(base: string): { readonly name: string; readonly wanted: string | null } {
  const [, name = base, version] = /^([A-Za-z][A-Za-z0-9_-]*?)(?:[@:]v?(.+))?$/.exec(base.trim()) ?? []
  const lower = name.toLowerCase()
  return { name: ALIASES[lower] ?? lower, wanted: version === undefined || version === 'latest' ? null : version }
}

/** As many parts as were asked for must be equal: 22 takes 22.4.1, 3.11 does not take 3.12.1. */
export function satisfies(version: string, wanted: string | null): boolean {
  if (wanted === null) return true
  const have = version.split('.')
  return wanted
    .replace(/\.x$/, '')
    .split('.')
    .every((part, index) => part === have[index])
}

async function versionOf(toolchain: Toolchain, options: CheckOptions): Promise<string | null> {
  let version: string | null = null
  const script = 'command -v "$1" >/dev/null || exit 127; exec "$@"'
  const result = await options.sandbox.run(['/bin/sh', '-c', script, 'sh', ...toolchain.argv], {
    timeoutMs: VERSION_TIMEOUT_MS,
    signal: options.signal,
    onLine: (line) => {
      version ??= toolchain.version.exec(line)?.[1] ?? null
    },
  })
  if (result.aborted) throw options.signal.reason
  return result.exitCode === 0 ? version : null
}
const VERSION_TIMEOUT_MS = 20_000

async function listHost(options: CheckOptions): Promise<string> {
  const found: string[] = []
  for (const [name, toolchain] of Object.entries(TOOLCHAINS)) {
    const version = await versionOf(toolchain, options)
    if (version !== null) found.push(`${name} ${version}`)
  }
  return found.length === 0 ? 'none of the known toolchains' : found.join(', ')
}

function unavailable(base: string, reason: string, host: string): ShiplockError {
  return new ShiplockError('BASE_UNAVAILABLE', `build.base ${JSON.stringify(base)} is not available: ${reason}. This host has ${host}.`, {
    details: { base, host },
    hint: 'Choose a base that this host has, install the toolchain on it, or build with a Dockerfile.',
  })
}
