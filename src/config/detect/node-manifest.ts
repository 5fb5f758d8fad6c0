import { ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'

/** What is read from a package.json; anything of a wrong type counts as absent. */
export interface PackageJson {
  readonly main: string | null
  readonly scripts: ReadonlyMap<string, string>
  readonly dependencies: ReadonlySet<string>
  readonly nodeVersion: string | null
  readonly packageManager: string | null
  readonly name: string | null
  /** Of `dependencies` and the like: what may be installed, by the version that is asked for. */
  readonly wanted: ReadonlyMap<string, string>
  /** It says which directories below it are packages of one workspace. */
  readonly hasWorkspaces: boolean
}

/** @throws CONFIG_INVALID when it is no JSON */
export function parsePackageJson(text: string): PackageJson {
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
  const kinds = [root.optionalDependencies, root.devDependencies, root.dependencies].map(record)
  const wanted = new Map(kinds.flatMap((kind) => Object.entries(kind).map(([name, version]) => [name, `${version}`] as const)))
  return {
    main: textOf(root.main),
    scripts: new Map(Object.entries(record(root.scripts)).filter((entry): entry is [string, string] => typeof entry[1] === 'string')),
    dependencies: new Set(wanted.keys()),
    nodeVersion: textOf(record(root.engines).node),
    packageManager: textOf(root.packageManager),
    name: textOf(root.name),
    wanted,
    hasWorkspaces: root.workspaces !== undefined,
  }
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim().replace(/^\.\//, '') : null
}
