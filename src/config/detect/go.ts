import { basename, dirname } from 'node:path/posix'
import { LIMITS } from '../../core/limits.ts'
import { printable } from '../../core/printable.ts'
import type { SourceFiles } from '../source-files.ts'
import type { Detection, Detector } from './detector.ts'
import { procfileWeb } from './procfile.ts'

/** Modules that are C inside; everything else is built without a C compiler, into a program that needs no library of the host. */
const C_MODULES = /github\.com\/(?:mattn\/go-sqlite3|confluentinc\/confluent-kafka-go|DataDog\/go-libddwaf|h2non\/bimg|davidbyttow\/govips)/
const NOT_PROGRAMS = /(^|\/)(testdata|examples?|_[^/]*|internal\/tools?|tools?|hack|scripts?)(\/|$)/
/** Words by which a program that answers requests is known among several. */
const ANSWERS =
  /"net\/http"|gin-gonic\/gin|labstack\/echo|gofiber\/fiber|go-chi\/chi|valyala\/fasthttp|gorilla\/mux|cloudwego\/hertz|ListenAndServe|net\.Listen/
const SERVER_NAMES = ['server', 'web', 'api', 'app', 'http', 'main', 'site', 'backend']

interface Program {
  /** Directory below the root; `.` for the root. */
  readonly directory: string
  readonly answers: boolean
}

export const goDetector: Detector = {
  name: 'go',
  async detect(files, { isStartKnown }) {
    const module = await files.read('go.mod', LIMITS.detectFileBytes)
    const workspace = module === null ? await files.readIfText('go.work') : null
    if (module === null && workspace === null) return { found: false, lookedFor: 'a go.mod', because: null }
    const marker = module === null ? 'go.work' : 'go.mod'
    const { programs, usesC } = await findPrograms(files)
    const web = isStartKnown ? null : await procfileWeb(files)
    const name = basename(/^module\s+(\S+)/m.exec(module ?? '')?.[1]?.replace(/\/v\d+$/, '') ?? '')
    const program = choose(programs, [namedBy(web, name), name])
    if (program === null) return notOne(marker, programs)
    const cgo = usesC || C_MODULES.test(module ?? '')
    const free = (await files.hasDirectory('app')) ? 'app.bin' : 'app'
    return found({ marker, program, web, isStartKnown, cgo, free })
  },
}

function found(plan: {
  marker: string
  program: Program
  web: string | null
  isStartKnown: boolean
  cgo: boolean
  free: string
}): Detection {
  const { marker, program, web, isStartKnown, cgo, free } = plan
  const own = programOf(web)
  const output = own?.path ?? free
  const target = program.directory === '.' ? '.' : `./${program.directory}`
  const build = `go build -o ${output} ${target}`
  const start = web === null ? `./${free}` : own === null ? web : `./${own.path}${own.rest}`
  return {
    found: true,
    what: `Go program (${marker})`,
    input: {
      build: {
        base: 'go',
        env: { CGO_ENABLED: cgo ? '1' : '0' },
        buildCommands: [build],
        deployFiles: ['./'],
      },
      ...(isStartKnown ? {} : { run: { start } }),
    },
    reasons: [
      `${marker} is there, and a program in ${program.directory === '.' ? 'this directory' : printable(program.directory)}: \`${build}\`; templates and other files beside it are deployed too`,
      ...(cgo ? ['it has C in it (cgo), so a C compiler is needed to build it'] : []),
      ...(web === null ? [] : [`Procfile names the web process: \`${printable(web)}\``]),
    ],
  }
}

/** The program that a Procfile starts, where the build has to put it: `bin/name` as it stands, a bare name into `bin`, as Heroku does. */
function programOf(web: string | null): { readonly path: string; readonly rest: string } | null {
  const [, first = '', rest = ''] = /^(\S+)(.*)$/.exec(web ?? '') ?? []
  if (/^(?:\.\/)?(?:[\w-][\w.-]*\/)+[\w-][\w.-]*$/.test(first)) return { path: first.replace(/^\.\//, ''), rest }
  if (/^\.\/[\w-][\w.-]*$/.test(first)) return { path: first.slice(2), rest }
  return /^[\w-][\w.-]*$/.test(first) && !/^(?:sh|bash|env|exec|go|make|sleep)$/.test(first) ? { path: `bin/${first}`, rest } : null
}

function namedBy(web: string | null, module: string): string {
  return basename(programOf(web)?.path ?? module)
}

/** The one in the root, the only one, the only one of its name, the only one that answers requests; null when none of these says which. */
function choose(programs: readonly Program[], names: readonly string[]): Program | null {
  const root = programs.find(({ directory }) => directory === '.')
  if (root !== undefined) return root
  const usual = programs.filter(({ directory }) => !NOT_PROGRAMS.test(directory))
  const among = usual.length === 0 ? programs : usual
  const only = (some: readonly Program[]) => (some.length === 1 ? (some[0] ?? null) : null)
  const named = names.map((name) => only(among.filter(({ directory }) => basename(directory) === name)))
  const answering = among.filter(({ answers }) => answers)
  const usuallyNamed = SERVER_NAMES.map((name) => only(among.filter(({ directory }) => basename(directory) === name)))
  return [only(among), ...named, only(answering), ...usuallyNamed].find((program) => program !== null) ?? null
}

function notOne(marker: string, programs: readonly Program[]): Detection {
  const lookedFor = 'a Go program'
  const [first] = programs
  if (first === undefined) return { found: false, lookedFor, because: `${marker} is there, but no Go file with package main and func main` }
  const named = programs.slice(0, 8).map(({ directory }) => printable(directory))
  const example = `build.buildCommands: go build -o app ./${printable(first.directory)}, run.start: ./app`
  return {
    found: false,
    lookedFor,
    because: `${marker} is there with ${programs.length} programs (${named.join(', ')}): say which in shiplock.yaml, e.g. build.base: go, ${example}`,
  }
}

async function findPrograms(files: SourceFiles): Promise<{ readonly programs: readonly Program[]; readonly usesC: boolean }> {
  const sources = (await files.outline()).filter((path) => path.endsWith('.go') && !path.endsWith('_test.go'))
  const found = new Map<string, { hasMain: boolean; answers: boolean }>()
  let usesC = false
  for (const path of sources.slice(0, LIMITS.detectFilesRead)) {
    const text = await files.readIfText(path)
    if (text === null || /^\/\/(?:go:build|\s*\+build)\s+ignore\b/m.test(text)) continue
    if (/^import\s+"C"/m.test(text)) usesC = true
    if (!/^package[ \t]+main\b/m.test(text)) continue
    const directory = found.get(dirname(path)) ?? { hasMain: false, answers: false }
    found.set(dirname(path), {
      hasMain: directory.hasMain || /^func[ \t]+main[ \t]*\(/m.test(text),
      answers: directory.answers || ANSWERS.test(text),
    })
  }
  const programs = [...found].filter(([, { hasMain }]) => hasMain).map(([directory, { answers }]) => ({ directory, answers }))
  return { programs, usesC }
}
