import { relative } from 'node:path'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import { type PackageJson, parsePackageJson } from './node-manifest.ts'

export interface Refusal {
  readonly because: string
  readonly hint?: string
}

/** Versions that lead out of the directory: to a sibling in the workspace, or to another place of the repository. */
const OUTSIDE = /^(?:workspace:|(?:file|link|portal):(?:\.\.|\/))/
const LOCKS = ['package-lock.json', 'npm-shrinkwrap.json', 'pnpm-lock.yaml', 'yarn.lock', 'bun.lock', 'bun.lockb'] as const
const MEMBERS_SHOWN = 6

/**
 * Why a member of a workspace can't be deployed alone: what it needs of its siblings is not there, and their names must not be asked for
 * at a public registry, where anybody may have taken them. A lock file of its own says where each package really comes from.
 */
export async function needsOutside(files: SourceFiles, manifest: PackageJson): Promise<Refusal | null> {
  const leading = [...manifest.wanted].find(([, version]) => OUTSIDE.test(version))?.[0]
  const name = leading ?? ((await hasLock(files)) ? undefined : await siblingAmong(files, manifest))
  if (name === undefined) return null
  return {
    because: `package.json needs ${printable(name)}, which stands outside of this directory and is not part of what is deployed`,
    hint: wholeWorkspace(files.around === null ? null : relative(files.around.root, files.root)),
  }
}

/** Below a package.json that starts nothing itself: which of the others can be deployed, and how. null = there are none. */
export async function membersBelow(files: SourceFiles, manifest: PackageJson): Promise<Refusal | null> {
  const members = await manifestsIn(files)
  const startable = members.filter(({ directory, found }) => directory !== '' && (found.scripts.has('start') || found.scripts.has('build')))
  if (startable.length === 0) return null
  const names = new Set(members.flatMap(({ found }) => found.name ?? []))
  const isWorkspace = await declaresWorkspace(files, manifest)
  const alone = startable.filter(({ found }) => !isWorkspace || ![...found.wanted.keys()].some((name) => names.has(name)))
  const shown = (alone.length > 0 ? alone : startable).slice(0, MEMBERS_SHOWN).map(({ directory }) => printable(directory))
  const more = (alone.length > 0 ? alone : startable).length > MEMBERS_SHOWN ? ' …' : ''
  if (alone.length > 0) {
    return {
      because: `package.json starts nothing; other directories can be deployed each by itself: ${shown.map((member) => `\`--root ${member}\``).join(', ')}${more}`,
      hint: `Choose one: \`--root ${shown[0]}\`.`,
    }
  }
  return {
    because: `package.json starts nothing, and its members need each other's packages: ${shown.join(', ')}${more}`,
    hint: wholeWorkspace(shown[0] ?? null),
  }
}

/** Nothing is known of how its tools build one member: that has to be said. */
function wholeWorkspace(member: string | null): string {
  const commands = member === null ? 'the commands' : `the commands for ${printable(member)}`
  return `Deploy the top of the repository with a shiplock.yaml there: build.buildCommands (install, then ${commands}) and run.start.`
}

/** A dependency that has the name of another package in the workspace around this directory. */
async function siblingAmong(files: SourceFiles, manifest: PackageJson): Promise<string | undefined> {
  const { around } = files
  if (around === null || manifest.wanted.size === 0) return undefined
  const top = parseOrNull(await around.readIfText('package.json'))
  if (!(await declaresWorkspace(around, top))) return undefined
  const siblings = new Set((await manifestsIn(around)).flatMap(({ found }) => found.name ?? []))
  return [...manifest.wanted.keys()].find((name) => name !== manifest.name && siblings.has(name))
}

async function declaresWorkspace(files: SourceFiles, top: PackageJson | null): Promise<boolean> {
  if (top?.hasWorkspaces === true) return true
  for (const file of ['pnpm-workspace.yaml', 'lerna.json', 'rush.json']) if (await files.has(file)) return true
  return false
}

/** Every package.json of a source that can be read, those near its top first. */
async function manifestsIn(files: SourceFiles): Promise<readonly { readonly directory: string; readonly found: PackageJson }[]> {
  const paths = (await files.outline()).filter((path) => path === 'package.json' || path.endsWith('/package.json'))
  const manifests: { directory: string; found: PackageJson }[] = []
  for (const path of paths.slice(0, LIMITS.detectFilesRead)) {
    const found = parseOrNull(await files.readIfText(path))
    if (found !== null) manifests.push({ directory: path.slice(0, -'/package.json'.length), found })
  }
  return manifests
}

function parseOrNull(text: string | null): PackageJson | null {
  try {
    return text === null ? null : parsePackageJson(text)
  } catch {
    return null
  }
}

async function hasLock(files: SourceFiles): Promise<boolean> {
  for (const lock of LOCKS) if (await files.has(lock)) return true
  return false
}
