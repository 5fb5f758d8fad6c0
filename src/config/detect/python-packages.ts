import { parse } from 'smol-toml'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'

/** Packages live beside the code, so that the artifact holds all it needs; a virtual environment could not be moved. */
export const PACKAGES = '.python_packages'
/** Tools that only the build needs, below the home of the build. */
const TOOLS = '"$HOME/.build-tools"'
const LOCKED = '.python_requirements.txt'

/** How the packages of a Python project are installed. */
export interface PythonPackages {
  /** The file that says which. */
  readonly marker: string
  readonly prepare: readonly string[]
  readonly install: readonly string[]
  readonly reason: string
  /** All that names packages, for asking whether one is among them. */
  readonly named: string
  /** What the project says about the version of Python, as written; null without a word. */
  readonly version: string | null
  /** The start of a project that is a package with a program: `module:function`. */
  readonly script: string | null
}

const REQUIREMENTS = [
  'requirements.txt',
  'requirements/production.txt',
  'requirements/prod.txt',
  'requirements/base.txt',
  'requirements-prod.txt',
  'requirements/requirements.txt',
] as const

/** A lock file counts before what was written by hand; null when nothing here says which packages. */
export async function pythonPackages(files: SourceFiles): Promise<PythonPackages | null> {
  const project = await readProject(files)
  const version = await versionOf(files, project)
  const common = { version, script: project?.script ?? null }
  for (const { lock, tool, packages, exported } of LOCKS) {
    const text = await files.readIfText(lock)
    if (text === null) continue
    return {
      ...common,
      ...throughTool(lock, tool, packages, exported),
      named: `${project?.named ?? ''}\n${(await files.readIfText('Pipfile')) ?? ''}\n${namesOfLock(text)}`,
    }
  }
  for (const marker of REQUIREMENTS) {
    const text = await files.read(marker, LIMITS.detectFileBytes)
    if (text === null) continue
    const isEmpty = !/^\s*[^\s#]/m.test(text)
    return {
      ...common,
      marker,
      prepare: [],
      install: isEmpty ? [] : [pip(`-r ${marker}`)],
      reason: isEmpty
        ? `${marker} names no package: nothing is installed`
        : `${marker} is there: packages are installed into ${PACKAGES} beside the code`,
      named: `${text}\n${await included(files, marker, text)}\n${project?.named ?? ''}`,
    }
  }
  if (project !== null) return { ...common, ...fromProject(project) }
  if (await files.has('Pipfile')) {
    const text = (await files.readIfText('Pipfile')) ?? ''
    const exported = `pipenv lock && pipenv requirements > ${LOCKED}`
    return { ...common, ...throughTool('Pipfile', 'pipenv', 'pipenv', exported), named: text }
  }
  for (const marker of ['setup.py', 'setup.cfg']) {
    const text = await files.readIfText(marker)
    if (text === null) continue
    return {
      ...common,
      marker,
      prepare: [],
      install: [pip('.')],
      reason: `${marker} is there: the project is installed into ${PACKAGES}`,
      named: text,
    }
  }
  return null
}

/** Each tool reads its own lock file; what it says is installed by pip, since the environment that it would make can't be moved. */
const LOCKS = [
  {
    lock: 'uv.lock',
    tool: 'uv',
    packages: 'uv',
    exported: `uv export --quiet --frozen --no-dev --no-emit-workspace --no-hashes --output-file ${LOCKED}`,
  },
  {
    lock: 'poetry.lock',
    tool: 'poetry',
    packages: 'poetry poetry-plugin-export',
    exported: `poetry export --quiet --only main --without-hashes --output ${LOCKED}`,
  },
  { lock: 'pdm.lock', tool: 'pdm', packages: 'pdm', exported: `pdm export --prod --without-hashes --output ${LOCKED}` },
  { lock: 'Pipfile.lock', tool: 'pipenv', packages: 'pipenv', exported: `pipenv requirements > ${LOCKED}` },
] as const

function throughTool(marker: string, tool: string, packages: string, exported: string) {
  return {
    marker,
    prepare: [`python3 -m pip install --quiet --disable-pip-version-check --target ${TOOLS} ${packages}`],
    install: [`export PATH=${TOOLS}/bin:"$PATH" PYTHONPATH=${TOOLS}; ${exported}`, pip(`-r ${LOCKED}`)],
    reason: `${marker} is there: its packages, as ${tool} exports them, are installed into ${PACKAGES} beside the code`,
  }
}

function pip(what: string): string {
  return `python3 -m pip install --disable-pip-version-check --no-cache-dir --target ${PACKAGES} ${what}`
}

interface Project {
  /** PEP 621; null when they are not written there (`dynamic`, poetry's own table, another tool's). */
  readonly dependencies: readonly string[] | null
  readonly hasPoetry: boolean
  readonly isPackage: boolean
  readonly named: string
  readonly requiresPython: string | null
  readonly script: string | null
}

function fromProject(project: Project): Omit<PythonPackages, 'version' | 'script'> {
  const marker = 'pyproject.toml'
  const { named, dependencies } = project
  if (dependencies === null && project.hasPoetry) {
    const exported = `poetry lock --quiet && poetry export --quiet --only main --without-hashes --output ${LOCKED}`
    return { ...throughTool(marker, 'poetry', 'poetry poetry-plugin-export', exported), named }
  }
  if (dependencies === null || (project.isPackage && project.script !== null))
    return {
      marker,
      prepare: [],
      install: [pip('.')],
      reason: `${marker} is there: the project and its packages are installed into ${PACKAGES}`,
      named,
    }
  return {
    marker,
    prepare: [],
    install: dependencies.length === 0 ? [] : [pip(dependencies.map(quoted).join(' '))],
    reason: `${marker} is there: the dependencies it names are installed into ${PACKAGES} beside the code, the project itself runs where it is`,
    named,
  }
}

/** For /bin/sh, whatever it holds. */
function quoted(text: string): string {
  return /^[\w.=@:/-]+$/.test(text) && !text.startsWith('-') ? text : `'${text.replaceAll("'", "'\\''")}'`
}

async function readProject(files: SourceFiles): Promise<Project | null> {
  const text = await files.read('pyproject.toml', LIMITS.detectFileBytes)
  if (text === null) return null
  const root = tomlOf(text)
  const project = record(root?.project)
  const poetry = record(record(root?.tool).poetry)
  const isThere = Object.keys(project).length > 0 || Object.keys(poetry).length > 0 || root === null || root['build-system'] !== undefined
  if (!isThere) return (await files.has('setup.py')) || (await files.has('Pipfile')) ? null : empty(text)
  const dynamic = Array.isArray(project.dynamic) && project.dynamic.includes('dependencies')
  const listed = Array.isArray(project.dependencies) ? project.dependencies : []
  const dependencies = listed.filter((entry): entry is string => typeof entry === 'string' && !/^\s*-|[\n\0]/.test(entry))
  const isPoetry = poetry.dependencies !== undefined && project.dependencies === undefined
  return {
    dependencies: root === null || dynamic || isPoetry ? null : dependencies,
    hasPoetry: isPoetry,
    isPackage: root?.['build-system'] !== undefined,
    named: `${dependencies.join('\n')}\n${Object.keys(record(poetry.dependencies)).join('\n')}`,
    requiresPython: textOf(project['requires-python']) ?? textOf(record(poetry.dependencies).python),
    script: firstScript(record(project.scripts)),
  }
}

/** A pyproject.toml that only holds the settings of tools. */
function empty(named: string): Project | null {
  return named.trim() === ''
    ? null
    : { dependencies: [], hasPoetry: false, isPackage: false, named: '', requiresPython: null, script: null }
}

function tomlOf(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return record(parse(text))
  } catch {
    return null
  }
}

function firstScript(scripts: Readonly<Record<string, unknown>>): string | null {
  const preferred = ['start', 'serve', 'server', 'web', 'app', 'main'].find((name) => Object.hasOwn(scripts, name))
  const names = preferred === undefined ? Object.keys(scripts) : [preferred]
  const value = names.length === 1 && names[0] !== undefined ? textOf(scripts[names[0]]) : null
  return value !== null && /^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$/.test(value) ? value : null
}

/** Files that a requirements file takes in by `-r`, one level. */
async function included(files: SourceFiles, marker: string, text: string): Promise<string> {
  const base = marker.includes('/') ? `${marker.slice(0, marker.lastIndexOf('/'))}/` : ''
  const names = [...text.matchAll(/^\s*(?:-r|--requirement)[ =]*([\w./-]+)/gm)].slice(0, 10).map(([, name = '']) => `${base}${name}`)
  return (await Promise.all(names.map((name) => files.readIfText(name)))).join('\n')
}

/** Of a lock file in TOML or JSON, the names of packages. */
function namesOfLock(text: string): string {
  const toml = [...text.matchAll(/^name = "([\w.-]+)"/gm)].map(([, name]) => name)
  const json = [...text.matchAll(/^ {8}"([\w.-]+)": \{/gm)].map(([, name]) => name)
  return [...toml, ...json].join('\n')
}

/** `.python-version` and `runtime.txt` are pins, `requires-python` is a range; the more exact word counts. */
async function versionOf(files: SourceFiles, project: Project | null): Promise<string | null> {
  const pinned = /^\s*(?:python-|cpython-)?(\d+(?:\.\d+){0,2})\s*$/m.exec((await files.readIfText('.python-version')) ?? '')?.[1]
  const runtime = /^\s*python-(\d+(?:\.\d+){0,2})/m.exec((await files.readIfText('runtime.txt')) ?? '')?.[1]
  const pipfile = /^python_(?:full_)?version\s*=\s*"([\d.]+)"/m.exec((await files.readIfText('Pipfile')) ?? '')?.[1]
  return pinned ?? runtime ?? pipfile ?? (project?.requiresPython ? printable(project.requiresPython) : null)
}

function record(value: unknown): Readonly<Record<string, unknown>> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? (value as Record<string, unknown>) : {}
}

function textOf(value: unknown): string | null {
  return typeof value === 'string' && value.trim() !== '' ? value.trim() : null
}
