import { basename } from 'node:path/posix'
import { ShiplockError } from '../../core/errors.ts'
import type { TreeEntry } from '../../core/walk-tree.ts'

interface Interpreter {
  /** Flags that take the next word as their value. */
  readonly valued: readonly string[]
  /** Flags after which no script file follows. */
  readonly ends: readonly string[]
  /** What the interpreter tries after the name as written. */
  readonly also: readonly string[]
  /** Only an argument that looks like this is surely a file. */
  readonly file: RegExp
}

const NODE: Interpreter = {
  valued: ['-r', '--require', '--import', '--loader', '--experimental-loader', '-C', '--conditions', '--title', '--env-file'],
  ends: [
    '-e',
    '--eval',
    '-p',
    '--print',
    '-c',
    '--check',
    '-i',
    '--interactive',
    '--run',
    '--test',
    '--watch-path',
    '-v',
    '--version',
    '-h',
    '--help',
  ],
  also: ['.js', '.cjs', '.json', '.node', '/index.js', '/index.cjs', '/package.json'],
  file: /^(?:\.\/)*[\w@][\w@.+-]*(?:\/[\w@.+-]+)*$/,
}
const PYTHON: Interpreter = {
  valued: ['-W', '-X'],
  ends: ['-c', '-m', '-V', '--version', '-h', '--help', '-i', '-'],
  also: ['/__main__.py'],
  file: /\.py[cw]?$|\//,
}
const SCRIPT = (extension: RegExp): Interpreter => ({
  valued: [],
  ends: ['-e', '-c', '-r', '-S', '-s', '-m', '-v', '--version'],
  also: [],
  file: extension,
})

/** Interpreters whose first plain argument is a script file. */
const INTERPRETERS: readonly (readonly [RegExp, Interpreter])[] = [
  [/^(?:node|nodejs)$/, NODE],
  [/^(?:python|pypy)(?:\d+(?:\.\d+)?)?$/, PYTHON],
  [/^(?:bun|tsx|ts-node)$/, { ...SCRIPT(/\.(?:[cm]?[jt]s|[jt]sx)$/), valued: ['--tsconfig', '-r', '--require', '--import'], also: [] }],
  [/^ruby$/, SCRIPT(/\.rb$/)],
  [/^perl$/, SCRIPT(/\.p[lm]$/)],
  [/^php\d*$/, SCRIPT(/\.php$/)],
  [/^(?:sh|bash|dash|ash|zsh)$/, SCRIPT(/\.(?:ba|z)?sh$|\//)],
]

/** The file that a start command surely needs, relative to the artifact's root, with the other names that would do. */
export interface NeededFile {
  readonly path: string
  readonly alternatives: readonly string[]
}

/**
 * Finds it only where there is no doubt: a plain command (no expansion, pipe, list or redirection) that is a relative path itself, or a
 * known interpreter with a script. Everything else answers null, since a wrong refusal is worse than a late failure.
 */
export function findNeededFile(command: string): NeededFile | null {
  const text = command.trim()
  if (/[\n`$|&;<>(){}*?[\]\\~'"#!]/.test(text)) return null
  const words = text.split(/\s+/)
  if (words[0] === 'exec') words.shift()
  if (words[0] === 'env') words.shift()
  while (/^[A-Za-z_]\w*=/.test(words[0] ?? '')) words.shift()
  const [program, ...rest] = words
  if (program === undefined || program.startsWith('/') || program.startsWith('-')) return null
  if (program.includes('/')) return needed(program, [])
  if (/^(?:npm|pnpm|yarn)$/.test(program) && (rest[0] === 'start' || (rest[0] === 'run' && rest.length > 1)))
    return needed('package.json', [])
  const interpreter = INTERPRETERS.find(([name]) => name.test(program))?.[1]
  return interpreter === undefined ? null : scriptOf(interpreter, rest)
}

function scriptOf(interpreter: Interpreter, words: readonly string[]): NeededFile | null {
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? ''
    if (!word.startsWith('-')) return interpreter.file.test(word) ? needed(word, interpreter.also) : null
    if (interpreter.ends.includes(word)) return null
    if (interpreter.valued.includes(word)) at += 1
    // A flag that is not known may take a value: only `--flag=value` and plain `--flag` before a file name with a dot are clear.
    else if (!word.includes('=') && !/^-[-\w]+$/.test(word)) return null
  }
  return null
}

function needed(word: string, also: readonly string[]): NeededFile | null {
  const names: string[] = []
  for (const name of word.split('/')) {
    if (name === '' || name === '.') continue
    if (name === '..') return null
    names.push(name)
  }
  const path = names.join('/')
  if (path === '') return null
  return { path, alternatives: also.map((suffix) => `${path}${suffix}`) }
}

/** Refuses start commands that name a file which the artifact lacks, showing where it was looked for and what is there instead. */
export function checkStartFiles(commands: readonly string[], artifact: ReadonlyMap<string, TreeEntry>): void {
  for (const command of commands) {
    const file = findNeededFile(command)
    if (file === null) continue
    if ([file.path, ...file.alternatives].some((path) => isThere(path, artifact))) continue
    const similar = [...artifact.keys()].filter((path) => basename(path) === basename(file.path)).slice(0, 5)
    const instead = similar.length === 0 ? 'and no file of that name is in the artifact' : `but the artifact has ${similar.join(', ')}`
    throw new ShiplockError('START_FILE_MISSING', `the start command \`${command}\` needs ${file.path}, ${instead}`, {
      details: { command, lookedFor: file.path, found: similar },
      ...(similar[0] === undefined
        ? {}
        : { hint: `Start ${similar[0]} instead, or change build.deployFiles: \`dist\` keeps the directory, \`dist/~\` cuts it.` }),
    })
  }
}

/** There, or below a link, whose target is not looked into. */
function isThere(path: string, artifact: ReadonlyMap<string, TreeEntry>): boolean {
  if (artifact.has(path)) return true
  const names = path.split('/')
  return names.some((_, index) => artifact.get(names.slice(0, index).join('/'))?.kind === 'symlink')
}
