import { createHash } from 'node:crypto'
import type { RecipeBuild } from '../../domain/service-config.ts'

/** What decides whether the layers of earlier builds may still be of use. A change of any part drops both layers. */
export interface LayerParts {
  readonly os: string | null
  readonly base: readonly string[]
  readonly prepareCommands: readonly string[]
  readonly cache: readonly string[]
  /** Versions of the toolchains that the bases came down to, e.g. `nodejs 22.4.1`. */
  readonly toolchains: readonly string[]
  /** Digest of the variables that prepareCommands name; '' when they name none. */
  readonly variables: string
}

const WORDS: Readonly<Record<keyof LayerParts, string>> = {
  os: 'build.os',
  base: 'build.base',
  prepareCommands: 'build.prepareCommands',
  cache: 'build.cache',
  toolchains: 'a toolchain of the host',
  variables: 'a variable that build.prepareCommands name',
}

export function layerParts(
  { os, base, prepareCommands, cache }: Pick<RecipeBuild, 'os' | 'base' | 'prepareCommands' | 'cache'>,
  toolchains: readonly string[],
  env: Readonly<Record<string, string>>,
): LayerParts {
  return { os, base, prepareCommands, cache, toolchains, variables: namedVariablesDigest(prepareCommands, env) }
}

export function layerKey({ os, base, prepareCommands, cache, toolchains, variables }: LayerParts): string {
  return hash([os, base, prepareCommands, cache, toolchains, variables])
}

/** `build.base changed`, in words. */
export function describeChange(before: LayerParts, now: LayerParts): string {
  const changed = (Object.keys(WORDS) as (keyof LayerParts)[]).filter((part) => JSON.stringify(before[part]) !== JSON.stringify(now[part]))
  const [first = '', ...rest] = changed.map((part) => WORDS[part])
  return rest.length === 0 ? `${first} changed` : `${[first, ...rest.slice(0, -1)].join(', ')} and ${rest.at(-1)} changed`
}

/**
 * Digest of those variables whose names stand in the commands after a `$`: with another value the commands do something else. Variables
 * that are read by programs only are not seen; the caches can be cleared for those.
 */
export function namedVariablesDigest(commands: readonly string[], env: Readonly<Record<string, string>>): string {
  const named = new Set(commands.flatMap((command) => [...command.matchAll(/\$\{?([A-Za-z_]\w*)/g)].map((match) => match[1] ?? '')))
  const values = Object.entries(env)
    .filter(([name]) => named.has(name))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return values.length === 0 ? '' : hash(values)
}

function hash(value: unknown): string {
  return createHash('sha256').update(JSON.stringify(value)).digest('hex')
}
