import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'

/** Files by which a directory is recognised, those that say most first. */
const MARKERS = [
  'shiplock.yaml',
  'shiplock.yml',
  'manage.py',
  'package.json',
  'composer.json',
  'Gemfile',
  'pyproject.toml',
  'requirements.txt',
  'go.mod',
  'pom.xml',
  'build.gradle',
  'build.gradle.kts',
  'Cargo.toml',
  'deno.json',
  'Dockerfile',
  'index.php',
  'index.html',
] as const

/** Languages that are seen but not built without a word of configuration, by a file or by the ending of their sources. */
const LANGUAGES: readonly (readonly [pattern: RegExp, language: string, base: string | null])[] = [
  [/^mix\.exs$/, 'Elixir', 'elixir'],
  [/^build\.sbt$/, 'Scala', 'java'],
  [/^project\.clj$|^deps\.edn$/, 'Clojure', 'java'],
  [/^stack\.yaml$|\.cabal$/, 'Haskell', null],
  [/^Package\.swift$/, 'Swift', null],
  [/^gleam\.toml$/, 'Gleam', null],
  [/^rebar\.config$/, 'Erlang', 'elixir'],
  [/^pubspec\.yaml$/, 'Dart', null],
  [/^shard\.yml$/, 'Crystal', null],
  [/^dune-project$/, 'OCaml', null],
  [/^CMakeLists\.txt$|^Makefile$/, 'C or C++', null],
  [/^cpanfile$|\.psgi$/, 'Perl', null],
  [/^build\.zig$/, 'Zig', null],
  [/^DESCRIPTION$|\.R$/, 'R', null],
  [/\.nimble$/, 'Nim', null],
  [/^v\.mod$/, 'V', null],
  [/\.jl$/, 'Julia', null],
  [/\.lua$/, 'Lua', null],
]

const COMPOSE = /^(?:docker-)?compose\.ya?ml$/

export interface NearestThing {
  /** What is there, as the second half of a sentence. */
  readonly sentence: string
  /** The one thing to do. */
  readonly hint: string
}

/** What is nearest to something that can be deployed, in a directory in which nothing was recognised. */
export async function nearestThing(files: SourceFiles, because: readonly string[]): Promise<NearestThing> {
  const outline = await files.outline()
  const candidates = candidatesIn(outline)
  const [reason] = because
  if (reason !== undefined) return { sentence: reason, hint: hintBeside(candidates) }
  const [first] = candidates
  const top = outline.filter((path) => !path.includes('/'))
  if (top.some((path) => COMPOSE.test(path)) && first === undefined)
    return {
      sentence: `${top.find((path) => COMPOSE.test(path))} is there (Docker Compose), which is not read`,
      hint: 'Deploy each of its services by itself: `--image NAME` for a ready image, `--root DIRECTORY` for one that is built.',
    }
  if (first !== undefined) return collection(candidates)
  const language = LANGUAGES.find(([pattern]) => top.some((path) => pattern.test(path)))
  if (language !== undefined) {
    const [pattern, name, base] = language
    const file = printable(top.find((path) => pattern.test(path)) ?? '')
    const toolchain = base === null ? '' : `build.base: ${base}, `
    return {
      sentence: `${file} is there (${name}), which is not built without configuration`,
      hint: `Add a Dockerfile, or a shiplock.yaml with ${toolchain}build.buildCommands and run.start.`,
    }
  }
  if (outline.length === 0)
    return {
      sentence: 'there is no file in this directory',
      hint: 'Check the directory (`--root`), and that its files are committed and not ignored.',
    }
  const shown = top.length === 0 ? outline : top
  return {
    sentence: `there is ${shown.slice(0, 6).map(printable).join(', ')}${shown.length > 6 ? ' …' : ''}, and nothing by which a program or a site is known`,
    hint: 'Add a Dockerfile, an index.html, or a shiplock.yaml with run.start.',
  }
}

interface Candidate {
  readonly directory: string
  readonly marker: (typeof MARKERS)[number]
}

/** Directories below the top that look like something to deploy; not those inside another one. */
function candidatesIn(outline: readonly string[]): readonly Candidate[] {
  const found = new Map<string, Candidate>()
  for (const path of outline) {
    const at = path.lastIndexOf('/')
    const marker = MARKERS.find((name) => name === path.slice(at + 1))
    const directory = path.slice(0, Math.max(0, at))
    if (at === -1 || marker === undefined || /(^|\/)(test|tests|docs?|fixtures|__tests__)(\/|$)/.test(directory)) continue
    const parents = directory.split('/').map((_, index, names) => names.slice(0, index).join('/'))
    if (parents.some((parent) => parent !== '' && found.has(parent))) continue
    const known = found.get(directory)
    if (known === undefined || MARKERS.indexOf(marker) < MARKERS.indexOf(known.marker)) found.set(directory, { directory, marker })
  }
  return [...found.values()]
}

function collection(candidates: readonly Candidate[]): NearestThing {
  const [first, ...more] = candidates
  const directory = first?.directory ?? '.'
  const root = /^[\w./-]+$/.test(directory) ? directory : JSON.stringify(directory)
  if (more.length === 0)
    return { sentence: `${first?.marker} is in ${printable(directory)}/`, hint: `Deploy that directory: \`--root ${printable(root)}\`.` }
  const names = candidates.slice(0, 8).map((candidate) => printable(candidate.directory))
  return {
    sentence: `${candidates.length} directories can be deployed each by itself: ${names.join(', ')}${candidates.length > 8 ? ' …' : ''}`,
    hint: `Choose one: \`--root ${printable(root)}\`.`,
  }
}

function hintBeside(candidates: readonly Candidate[]): string {
  const [first] = candidates
  const also =
    first === undefined ? '' : ` For ${printable(first.directory)}/ (${first.marker}) use \`--root ${printable(first.directory)}\`.`
  return `Add what is missing, or a shiplock.yaml with run.start (a command) or run.staticRoot (a directory).${also}`
}
