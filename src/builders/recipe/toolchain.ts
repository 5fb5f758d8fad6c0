import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ShiplockError } from '../../core/errors.ts'
import { BASES, type BaseOverrides, overrideOf, parseBase, type Toolchain } from './bases.ts'

/** Runs a command where the base is needed; answers the lines that it printed, null when it failed. */
export type Ask = (argv: readonly string[]) => Promise<readonly string[] | null>

export interface FoundBase {
  readonly base: string
  /** e.g. `nodejs 22.4.1`; null for one that needs nothing. */
  readonly version: string | null
}

/** Directories of the host that the named bases add to the sight and the PATH of commands, each with a program directory in it. */
export function baseDirectories(
  bases: readonly string[],
  overrides: BaseOverrides,
): readonly { readonly directory: string; readonly bin: string }[] {
  return bases.flatMap((base) => {
    const override = overrideOf(base, overrides)
    if (override?.startsWith('/')) {
      if (!existsSync(override)) throw new ShiplockError('BASE_UNAVAILABLE', `SHIPLOCK_BASES says ${base}=${override}, which is not there`)
      return [{ directory: override, bin: join(override, 'bin') }]
    }
    const places = definitionOf(base)?.toolchain?.places ?? []
    return places.filter((place) => existsSync(place)).map((place) => ({ directory: place, bin: place }))
  })
}

/** Refuses a base that this host does not have, in name or version. `key` names the setting that asks for them. */
export async function checkBases(bases: readonly string[], ask: Ask, key: 'build.base' | 'run.base'): Promise<readonly FoundBase[]> {
  const found: FoundBase[] = []
  for (const base of bases) {
    const { name, wanted } = parseBase(base)
    const definition = definitionOf(base)
    const refuse = async (reason: string, install?: string) => unavailable(base, key, { reason, install, host: await listHost(ask) })
    if (definition === undefined) throw await refuse(`it is none of ${Object.keys(BASES).join(', ')}`)
    if (definition.toolchain === null) {
      found.push({ base, version: null })
      continue
    }
    const version = await versionOf(definition.toolchain, ask)
    if (version === null) throw await refuse('it is not installed here', definition.install)
    if (!satisfies(version, wanted)) throw await refuse(`this host has ${name} ${version}`)
    found.push({ base, version: `${name} ${version}` })
  }
  return found
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

function definitionOf(base: string) {
  const { name } = parseBase(base)
  return Object.hasOwn(BASES, name) ? BASES[name] : undefined
}

async function versionOf(toolchain: Toolchain, ask: Ask): Promise<string | null> {
  // The places come as $0: a toolchain is named among what the host has also where nobody asked for it.
  const script = 'PATH="$PATH:$0"; command -v "$1" >/dev/null || exit 127; exec "$@"'
  const lines = await ask(['/bin/sh', '-c', script, (toolchain.places ?? ['/usr/bin']).join(':'), ...toolchain.argv])
  for (const line of lines ?? []) {
    const version = toolchain.version.exec(line)?.[1]
    if (version !== undefined) return version
  }
  return null
}

async function listHost(ask: Ask): Promise<string> {
  const found: string[] = []
  for (const [name, { toolchain }] of Object.entries(BASES)) {
    const version = toolchain === null ? null : await versionOf(toolchain, ask)
    if (version !== null) found.push(`${name} ${version}`)
  }
  return found.length === 0 ? 'none of the known toolchains' : found.join(', ')
}

function unavailable(base: string, key: string, why: { reason: string; install: string | undefined; host: string }): ShiplockError {
  const { reason, install, host } = why
  return new ShiplockError('BASE_UNAVAILABLE', `${key} ${JSON.stringify(base)} is not available: ${reason}. This host has ${host}.`, {
    details: { base, host },
    hint:
      install === undefined
        ? 'Choose a base that this host has, install the toolchain on it, name its directory in SHIPLOCK_BASES, or build with a Dockerfile.'
        : `Install it on the server: ${install}. Or name its directory in SHIPLOCK_BASES, or build with a Dockerfile.`,
  })
}
