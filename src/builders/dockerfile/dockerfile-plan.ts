import { ShiplockError } from '../../core/errors.ts'
import { printable } from '../../core/printable.ts'
import { type DockerfileText, type Instruction, parseDockerfile, unreadable } from './dockerfile-text.ts'
import { expand, jsonWords, takeFlags } from './dockerfile-words.ts'
import { runScope } from './run-scope.ts'

/** An image that a Dockerfile names. */
export interface BaseNeed {
  /** As written, variables put in. */
  readonly reference: string
  /** null = that of the build. */
  readonly platform: string | null
  readonly line: number
  /** Names of the stages before it, for triggers that it may bring. */
  readonly stages: readonly string[]
}

export interface PlanOptions {
  /** `build.args`. */
  readonly args: Readonly<Record<string, string>>
  /** Of the engine and of the build: `linux/amd64`. */
  readonly enginePlatform: string
  readonly targetPlatform: string
  readonly hasHeredocs: (syntax: string | null) => boolean
  /** Whether the engine may fetch what `ADD https://…` names, in the network of its host. */
  readonly mayAddUrls: boolean
}

export interface DockerfilePlan {
  /** What `# syntax=` names. */
  readonly syntax: string | null
  readonly needs: readonly BaseNeed[]
  /**
   * The Dockerfile that is built: the same instructions on the same lines, each image by what it was found to be. `scope` keeps the results
   * of RUN apart from those of other builds (`runScope`); null for the classic builder.
   */
  render(found: { readonly syntax: string | null; readonly scope: string | null; readonly image: (need: BaseNeed) => string }): string
}

/** Settings of builders that undo what this server relies on are not for build.args; this one is harmless. */
const ALLOWED_SETTING = 'BUILDKIT_INLINE_CACHE'

/** @throws CONFIG_INVALID */
export function refuseBuilderSettings(args: Readonly<Record<string, string>>): void {
  const name = Object.keys(args).find((key) => /^BUILDKIT_/i.test(key) && key !== ALLOWED_SETTING)
  if (name === undefined) return
  throw new ShiplockError('CONFIG_INVALID', `build.args: ${printable(name)} is a setting of the builder, not of the Dockerfile`, {
    hint: `Remove it; of those only ${ALLOWED_SETTING} may be set.`,
  })
}

/** What a Dockerfile needs from outside, and the Dockerfile that names nothing else. @throws BUILD_FAILED, CONFIG_INVALID */
export function planDockerfile(source: string, options: PlanOptions): DockerfilePlan {
  const text = parseDockerfile(source, options)
  const planner = new Planner(text, options)
  const planned = text.instructions.map((instruction) => ({ instruction, ...planner.plan(instruction) }))
  return {
    syntax: text.syntax,
    needs: planned.flatMap(({ needs }) => needs),
    render: ({ syntax, scope, image }) => {
      const lines: string[] = []
      const put = (line: number, content: readonly string[]) => {
        while (lines.length < line - 1) lines.push('#')
        lines.push(...content)
      }
      put(1, [...(syntax === null ? [] : [`# syntax=${syntax}`]), ...(text.escapeToken === '\\' ? [] : [`# escape=${text.escapeToken}`])])
      for (const { instruction, write, needs } of planned) {
        const written = `${instruction.keyword} ${write(needs.map(image), scope)}`.trimEnd()
        put(instruction.line, [...broken(written, text.escapeToken), ...instruction.heredoc])
      }
      return `${lines.join('\n')}\n`
    },
  }
}

/** Builders take lines of 64 KiB; a longer one is broken where no reader can take its parts for anything else. */
function broken(line: string, escapeToken: string): string[] {
  const pieces: string[] = []
  let rest = line
  while (rest.length > LINE_CHARACTERS) {
    let at = LINE_CHARACTERS
    while (at > 1 && !(/\w/.test(rest[at - 1] ?? '') && /\w/.test(rest[at] ?? ''))) at -= 1
    if (at === 1) break
    pieces.push(rest.slice(0, at) + escapeToken)
    rest = rest.slice(at)
  }
  return [...pieces, rest]
}
/** Of up to four bytes each. */
const LINE_CHARACTERS = 15_000

/**
 * Triggers that an image brings (ONBUILD) are run by the builder as they are, so they may ask for nothing that would have to be looked at:
 * no image, no URL, no secret, no network of the host. @throws CONFIG_INVALID
 */
export function checkTriggers(
  triggers: readonly string[],
  need: Pick<BaseNeed, 'reference' | 'stages' | 'line'>,
  mayAddUrls: boolean,
): void {
  for (const trigger of triggers) {
    const problem = triggerProblem(trigger, need.stages, mayAddUrls)
    if (problem !== null) {
      throw refused(
        need.line,
        `the image ${need.reference} has ONBUILD ${trigger.slice(0, 100)}: ${problem}`,
        'Use an image without that trigger.',
      )
    }
  }
}

function triggerProblem(trigger: string, stages: readonly string[], mayAddUrls: boolean): string | null {
  if (/[\n\r]/.test(trigger)) return 'it is more than one line'
  let instructions: readonly Instruction[]
  try {
    instructions = parseDockerfile(trigger, { hasHeredocs: () => false }).instructions
  } catch (error) {
    return (error as Error).message
  }
  const [only, ...more] = instructions
  if (only === undefined || more.length > 0) return 'it is not one instruction'
  if (only.keyword === 'FROM' || only.keyword === 'ONBUILD') return 'it is not allowed there'
  const { flags, rest } = takeFlags(only.rest)
  const problem = runProblem(only.keyword, flags)
  if (problem !== null) return problem
  if (flags.some((flag) => /^--mount=/i.test(flag) && /type=["']?secret/i.test(flag))) return 'it asks for a secret'
  if (flags.some(hidesSource)) return 'it hides where it takes files from'
  const from = flags.map(sourceOfFlag).find((name) => name !== null && !isStage(name, stages))
  if (from !== undefined) return `it takes files from ${printable(from ?? '')}, which is no stage`
  return only.keyword === 'ADD' && !mayAddUrls && sourcesOf(rest).some((source) => !isPlainPath(source))
    ? 'it adds what may be a URL'
    : null
}

/** What a RUN may not ask for; null = nothing of that. */
function runProblem(keyword: string, flags: readonly string[]): string | null {
  if (keyword !== 'RUN') return null
  const odd = flags.find(
    (flag) => /^--(?:network|security|device)\b/.test(flag) && !/^--(?:network=(?:default|none)|security=sandbox)$/.test(flag),
  )
  return odd === undefined ? null : `${printable(odd).slice(0, 60)} is not allowed here`
}

/** Where a flag takes files from: `--from=x`, `--mount=type=bind,from=x`; null = it takes none. */
function sourceOfFlag(flag: string): string | null {
  if (flag.startsWith('--from=')) return flag.slice('--from='.length)
  if (!flag.startsWith('--mount=')) return null
  // The last one counts.
  return flag.slice('--mount='.length).split(',').findLast(isFrom)?.slice('from='.length) ?? null
}

/** The same flag with another source. */
function withSource(flag: string, source: string): string {
  if (flag.startsWith('--from=')) return `--from=${source}`
  const others = flag
    .slice('--mount='.length)
    .split(',')
    .filter((field) => !isFrom(field))
  return `--mount=${[...others, `from=${source}`].join(',')}`
}

function isFrom(field: string): boolean {
  return /^from=/i.test(field)
}

/** Quotes, variables and escapes could make a field of it that we don't see and the builder does. */
function hidesSource(flag: string): boolean {
  if (!/^--(?:from|mount)=/.test(flag)) return false
  return sourceOfFlag(flag) === null ? /from/i.test(flag) && /["'\\$`]/.test(flag) : /["'\\$`\s]/.test(flag)
}

function isStage(name: string, stages: readonly string[]): boolean {
  return /^\d+$/.test(name) ? Number(name) < stages.length : stages.includes(name.toLowerCase())
}

/** All words but the last, which is where they go. */
function sourcesOf(rest: string): readonly string[] {
  return (jsonWords(rest) ?? rest.trim().split(/\s+/)).slice(0, -1)
}

const REMOTE = /^["']?(?:[a-z][a-z0-9+.-]*:\/\/|git@|[\w.-]+@[\w.-]+:)/i

/** Nothing that variables, quotes or escapes could turn into a URL. */
function isPlainPath(source: string): boolean {
  if (/^(?:\/|\.\.?(?:\/|$)|<<)/.test(source)) return true
  return /^[\w.*?[\]-][^$"'\\`@:]*$/.test(source) && !REMOTE.test(source) && !/\.git(?:#|$)|^github\.com\//.test(source)
}

interface Planned {
  readonly needs: readonly BaseNeed[]
  /** The rest of the instruction, each need by the image that it was found to be. */
  readonly write: (images: readonly string[], scope: string | null) => string
}

class Planner {
  readonly #text: DockerfileText
  readonly #options: PlanOptions
  readonly #globals = new Map<string, string>()
  /** '' = it has no name. */
  readonly #stages: string[] = []
  readonly #allStages: ReadonlySet<string>

  constructor(text: DockerfileText, options: PlanOptions) {
    this.#text = text
    this.#options = options
    for (const [prefix, platform] of [
      ['BUILD', options.enginePlatform],
      ['TARGET', options.targetPlatform],
    ] as const) {
      const [os = '', arch = '', variant = ''] = platform.split('/')
      for (const [name, value] of Object.entries({ PLATFORM: platform, OS: os, ARCH: arch, VARIANT: variant })) {
        this.#globals.set(`${prefix}${name}`, value)
      }
    }
    this.#allStages = new Set(text.instructions.flatMap(({ keyword, rest }) => (keyword === 'FROM' ? [stageName(rest)] : [])))
  }

  plan(instruction: Instruction): Planned {
    const { keyword, rest } = instruction
    if (keyword === 'FROM') return this.#from(instruction)
    if (keyword === 'ARG' && this.#stages.length === 0) this.#global(rest)
    if (keyword === 'ONBUILD') this.#onBuild(instruction)
    if (keyword === 'RUN' || keyword === 'COPY' || keyword === 'ADD') return this.#files(instruction)
    return { needs: [], write: () => rest }
  }

  /** `ARG NAME=default` before the first FROM, which FROM may use. */
  #global(rest: string): void {
    for (const word of rest.match(/(?:"[^"]*"|'[^']*'|\S)+/g) ?? []) {
      const [name = '', ...value] = word.split('=')
      const given = Object.hasOwn(this.#options.args, name) ? this.#options.args[name] : undefined
      const own = value.length === 0 ? undefined : (expand(value.join('='), this.#globals, this.#text.escapeToken) ?? undefined)
      const chosen = given ?? own
      if (chosen !== undefined) this.#globals.set(name, chosen)
    }
  }

  #from({ rest, line }: Instruction): Planned {
    const { flags, rest: words } = takeFlags(rest)
    const match = /^(\S+)(?:\s+[aA][sS]\s+(\S+))?\s*$/.exec(words)
    if (match === null) throw unreadable(line, 'FROM is followed by an image and, perhaps, AS and a name')
    const reference = this.#expanded(match[1] ?? '', line)
    const name = match[2] ?? null
    if (name !== null && !/^[a-z][a-z0-9_.-]*$/i.test(name))
      throw unreadable(line, `${printable(name).slice(0, 60)} is no name for a stage`)
    const platform = this.#platform(flags, line)
    const before = [...this.#stages]
    this.#stages.push(name?.toLowerCase() ?? '')
    const head = platform === null ? '' : `--platform=${platform} `
    const tail = name === null ? '' : ` AS ${name}`
    if (before.includes(reference.toLowerCase()) || reference === 'scratch') {
      return { needs: [], write: () => `${head}${reference}${tail}` }
    }
    const need = { reference, platform, line, stages: before }
    return { needs: [need], write: ([image = '']) => `${head}${image}${tail}` }
  }

  #platform(flags: readonly string[], line: number): string | null {
    if (flags.length === 0) return null
    const [flag = ''] = flags
    if (flags.length > 1 || !flag.startsWith('--platform=')) throw unreadable(line, 'FROM knows the flag --platform alone')
    const platform = this.#expanded(flag.slice('--platform='.length), line)
    if (!/^[a-z0-9]+(?:\/[a-z0-9]+(?:\/[a-z0-9]+)?)?$/i.test(platform))
      throw unreadable(line, `${printable(platform).slice(0, 60)} is no platform`)
    return platform
  }

  #expanded(text: string, line: number): string {
    const value = expand(text, this.#globals, this.#text.escapeToken)
    if (value === null)
      throw unreadable(line, `${printable(text).slice(0, 100)} uses variables in a way that is not known here; write the name out`)
    if (value === '' || /\s/.test(value))
      throw unreadable(line, `${printable(text).slice(0, 100)} leaves no image name: set its variable in build.args`)
    return value
  }

  #onBuild({ rest, line }: Instruction): void {
    const problem = triggerProblem(rest, this.#stages, this.#options.mayAddUrls)
    if (problem !== null) throw refused(line, `ONBUILD ${rest.slice(0, 100)}: ${problem}`, 'Put the instruction where its stage is used.')
  }

  #files({ keyword, rest, line }: Instruction): Planned {
    const { flags, rest: words } = takeFlags(rest)
    const problem = runProblem(keyword, flags)
    if (problem !== null) throw refused(line, problem, 'A build has a network of its own and no more rights than its steps need.')
    const needs: BaseNeed[] = []
    // Per flag, which of the needs it is.
    const wanted = flags.map((flag) => {
      if (hidesSource(flag)) throw plainly(line, flag)
      const from = sourceOfFlag(flag)
      if (from === null || this.#isStageHere(from, line)) return null
      return needs.push({ reference: from, platform: null, line, stages: [...this.#stages] }) - 1
    })
    const arguments_ = keyword === 'ADD' ? this.#addSources(words, line) : words
    if (needs.length === 0) {
      const own = flags.length === 0 ? '' : rest.slice(0, rest.length - words.length)
      return { needs, write: (_, scope) => `${keyword === 'RUN' && scope !== null ? `${runScope(scope)} ` : ''}${own}${arguments_}` }
    }
    const write: Planned['write'] = (images, scope) => {
      const changed = flags.map((flag, index) => {
        const need = wanted[index]
        return need === null || need === undefined ? requoted(flag) : withSource(flag, images[need] ?? '')
      })
      return [...(keyword === 'RUN' && scope !== null ? [runScope(scope)] : []), ...changed, arguments_].join(' ')
    }
    return { needs, write }
  }

  /** Builders differ about a stage that comes later: one takes it, another looks for an image of that name. */
  #isStageHere(name: string, line: number): boolean {
    if (isStage(name, this.#stages)) return true
    if (/^\d+$/.test(name)) throw unreadable(line, `there is no stage ${printable(name).slice(0, 20)} before it`)
    if (this.#allStages.has(name.toLowerCase())) throw unreadable(line, `the stage ${name} comes only later`)
    return false
  }

  /** Sources that could become a URL by their variables are marked as paths; those that are one are the server owner's matter. */
  #addSources(words: string, line: number): string {
    const json = jsonWords(words)
    const sources = sourcesOf(words)
    const remote = sources.find((source) => REMOTE.test(source))
    if (remote !== undefined && !this.#options.mayAddUrls) {
      throw refused(
        line,
        `ADD ${printable(remote).slice(0, 200)}: the engine would fetch it in the network of its host, where it reaches what the build must not`,
        'Fetch it in a RUN step, or put it into the repository; SHIPLOCK_DOCKERFILE_ADD_URLS=allow lets the engine do it on this server.',
      )
    }
    if (this.#options.mayAddUrls || sources.every((source) => isPlainPath(source))) return words
    const marked = (source: string) => (isPlainPath(source) ? source : `./${source}`)
    if (json !== null) return JSON.stringify([...sources.map(marked), ...json.slice(-1)])
    return [...sources.map(marked), ...words.trim().split(/\s+/).slice(-1)].join(' ')
  }
}

function stageName(rest: string): string {
  return /\s[aA][sS]\s+(\S+)\s*$/.exec(rest)?.[1]?.toLowerCase() ?? ''
}

function requoted(flag: string): string {
  return /[\s"'\\]/.test(flag) ? `"${flag.replace(/["\\]/g, '\\$&')}"` : flag
}

function plainly(line: number, flag: string): ShiplockError {
  return refused(
    line,
    `${printable(flag).slice(0, 100)} hides where it takes files from`,
    'Write the name of the stage or image out, without quotes and variables.',
  )
}

function refused(line: number, what: string, hint: string): ShiplockError {
  return new ShiplockError('CONFIG_INVALID', `line ${line} of the Dockerfile: ${printable(what)}`, { hint })
}
