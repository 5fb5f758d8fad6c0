// biome-ignore-all lint/suspicious/noTemplateCurlyInString: references look like template placeholders
import { isShiplockError, ShiplockError } from '../core/errors.ts'
import { LIMITS } from '../core/limits.ts'
import { printable } from '../core/printable.ts'
import { formatBytes } from '../domain/format-bytes.ts'
import { isReservedName, variableNameProblem } from './variable-name.ts'

/** Variables of one origin, unresolved. Later layers win over earlier ones: project, environment, service, configuration file. */
interface VariableLayer {
  readonly name: string
  readonly values: Readonly<Record<string, string>>
}

export interface VariablesRequest {
  readonly layers: readonly VariableLayer[]
  /** SHIPLOCK_PROJECT and the like: part of the result, never resolved further, never overridden. */
  readonly builtins: Readonly<Record<string, string>>
}

export interface ResolvedVariables {
  /** Names in order, no reference left. */
  readonly env: Readonly<Record<string, string>>
  /** The layer that each variable came from; `shiplock` for builtins. */
  readonly layerOf: Readonly<Record<string, string>>
  /** For each variable, the names that its value was made from, directly or through others. What uses a secret is a secret (I8). */
  readonly uses: Readonly<Record<string, readonly string[]>>
  /** The other way round: for each variable that is used, the names that use it, directly or through others. */
  readonly usedBy: Readonly<Record<string, readonly string[]>>
}

/** Set when an instance starts, so nothing that is resolved before can refer to them. */
const LATER: readonly string[] = ['PORT', 'SHIPLOCK_INSTANCE']

/**
 * `${NAME}` is a reference. `$${NAME}` and `\${NAME}` are the text `${NAME}`. Any other `$` is itself.
 * An opening `${` without its end is a mistake too, so the last alternative catches it.
 */
const TOKEN = /\$\$\{|\\\$\{|\$\{([^}]*)(\}?)/g

interface Resolution {
  readonly value: string
  readonly uses: ReadonlySet<string>
}

/**
 * Merges the layers and resolves every reference, pure. Throws VARIABLE_UNRESOLVED that names variable and reference (never a value:
 * it may be a secret), or INPUT_INVALID for a name that is not allowed.
 */
export function resolveVariables(request: VariablesRequest): ResolvedVariables {
  const merged = new Map<string, { readonly layer: string; readonly text: string }>()
  for (const { name: layer, values } of request.layers)
    for (const [name, text] of Object.entries(values)) {
      const problem = variableNameProblem(name)
      if (problem !== null) throw new ShiplockError('INPUT_INVALID', `the ${printable(layer)} variable ${printable(name)} ${problem}`)
      merged.set(name, { layer, text })
    }
  const builtins = new Map(Object.entries(request.builtins))
  const resolver = new Resolver(new Map([...merged].map(([name, { text }]) => [name, text])), builtins)
  const names = [...new Set([...merged.keys(), ...builtins.keys()])].sort()
  const resolved = resolveAll(resolver, names)
  assertSize(resolved)
  return {
    env: Object.fromEntries(resolved.map(([name, { value }]) => [name, value])),
    layerOf: Object.fromEntries(names.map((name) => [name, builtins.has(name) ? 'shiplock' : (merged.get(name)?.layer ?? 'shiplock')])),
    uses: Object.fromEntries(resolved.filter(([, { uses }]) => uses.size > 0).map(([name, { uses }]) => [name, [...uses].sort()])),
    usedBy: invert(resolved),
  }
}

/** Every reference that leads nowhere is told at once: one after the other each would cost a deployment. */
function resolveAll(resolver: Resolver, names: readonly string[]): readonly (readonly [string, Resolution])[] {
  const resolved: (readonly [string, Resolution])[] = []
  const faults = new Map<string, ShiplockError>()
  const inCircles = new Set<string>()
  for (const name of names) {
    try {
      resolved.push([name, resolver.resolve(name)])
    } catch (error) {
      resolver.forget()
      if (!isShiplockError(error, 'VARIABLE_UNRESOLVED')) throw error
      const circle = (error.details.circle ?? []) as readonly string[]
      if (circle.length === 0 || !circle.every((member) => inCircles.has(member))) faults.set(error.message, error)
      for (const member of circle) inCircles.add(member)
    }
  }
  const [first, ...others] = faults.values()
  if (first === undefined) return resolved
  if (others.length === 0) throw first
  const shown = [first, ...others].slice(0, LIMITS.configProblemsShown).map(({ message }) => message)
  const more = faults.size - shown.length
  throw new ShiplockError('VARIABLE_UNRESOLVED', [...shown, ...(more > 0 ? [`and ${more} more`] : [])].join('\n'), {
    details: { ...first.details, variables: [...faults.values()].map(({ details }) => details.variable) },
    hint: 'Set these variables, or correct the references; where a value holds `${…}` as it is, write `$${…}`.',
  })
}

/** The kernel takes so much with a program's start; above that no command runs, and none says why. */
function assertSize(resolved: readonly (readonly [string, Resolution])[]): void {
  const bytes = resolved.reduce((sum, [name, { value }]) => sum + Buffer.byteLength(name) + Buffer.byteLength(value) + 2, 0)
  if (bytes <= LIMITS.environmentBytes) return
  const largest = [...resolved].sort(([, a], [, b]) => b.value.length - a.value.length).slice(0, 3)
  throw new ShiplockError(
    'CONFIG_INVALID',
    `the variables have ${formatBytes(bytes)} together, more than ${formatBytes(LIMITS.environmentBytes)}`,
    {
      hint: `Remove some, or put large contents into files; the largest: ${largest.map(([name]) => name).join(', ')}.`,
      details: { bytes, bytesMax: LIMITS.environmentBytes },
    },
  )
}

/** The value that resolves to exactly this text, whatever it holds. */
export function escapeReferences(text: string): string {
  return text.replaceAll('${', '$$${')
}

class Resolver {
  readonly #texts: ReadonlyMap<string, string>
  readonly #builtins: ReadonlyMap<string, string>
  readonly #done = new Map<string, Resolution>()
  /** Names that are being resolved, outermost first: a name that comes up again closes a circle. */
  readonly #open: string[] = []

  constructor(texts: ReadonlyMap<string, string>, builtins: ReadonlyMap<string, string>) {
    this.#texts = texts
    this.#builtins = builtins
  }

  /** After a refusal: what was being resolved is not any more. */
  forget(): void {
    this.#open.length = 0
  }

  resolve(name: string): Resolution {
    const builtin = this.#builtins.get(name)
    if (builtin !== undefined) return { value: builtin, uses: new Set() }
    const known = this.#done.get(name)
    if (known !== undefined) return known
    this.#open.push(name)
    const uses = new Set<string>()
    const value = (this.#texts.get(name) ?? '').replace(TOKEN, (token, reference: string | undefined, end: string | undefined) => {
      if (reference === undefined) return '${'
      const target = this.#target(name, token, reference, end === '}')
      uses.add(reference)
      for (const inner of target.uses) uses.add(inner)
      return target.value
    })
    // References to references can double at every level; the sum is bounded before it is built any further.
    if (Buffer.byteLength(value) > LIMITS.variableValueBytes)
      throw unresolved(name, null, `becomes longer than ${LIMITS.variableValueBytes} bytes when its references are resolved`)
    this.#open.pop()
    const resolution = { value, uses }
    this.#done.set(name, resolution)
    return resolution
  }

  #target(name: string, token: string, reference: string, isClosed: boolean): Resolution {
    if (!isClosed) throw unresolved(name, null, 'has a `${` without its `}`; write `$${` for the text itself')
    if (reference === name) throw unresolved(name, reference, `refers to itself by ${token}; give the other value a name of its own`)
    if (this.#open.includes(reference)) {
      const circle = [...this.#open.slice(this.#open.indexOf(reference)), reference]
      throw unresolved(name, reference, `refers to itself in a circle: ${circle.join(' → ')}`, { circle })
    }
    if (this.#texts.has(reference) || this.#builtins.has(reference)) return this.resolve(reference)
    const shown = printable(token.slice(0, LIMITS.variableNameLength))
    const hint = `Set it, or correct the reference; where the value holds ${shown} as it is, write $${shown} (\`--literal\` of \`secret set\` and \`env import\` does).`
    throw unresolved(name, reference, `refers to ${shown}, ${whyUnknown(reference)}`, {}, hint)
  }
}

function whyUnknown(reference: string): string {
  if (LATER.includes(reference)) return 'which is known only when an instance starts; read it in the app or in the start command'
  if (isReservedName(reference)) return 'which Shiplock does not set'
  if (variableNameProblem(reference) !== null) return 'which is no variable name; write `$${` for the text itself'
  return 'which is not set in this project, environment, service or configuration file'
}

function unresolved(
  variable: string,
  reference: string | null,
  what: string,
  more: Readonly<Record<string, unknown>> = {},
  hint?: string,
): ShiplockError {
  const message = `the variable ${variable} ${what}`
  return new ShiplockError('VARIABLE_UNRESOLVED', message, {
    details: { variable, reference, ...more },
    ...(hint === undefined ? {} : { hint }),
  })
}

function invert(resolved: readonly (readonly [string, Resolution])[]): Readonly<Record<string, readonly string[]>> {
  const usedBy = new Map<string, string[]>()
  for (const [name, { uses }] of resolved)
    for (const used of uses) {
      const users = usedBy.get(used)
      if (users === undefined) usedBy.set(used, [name])
      else users.push(name)
    }
  return Object.fromEntries([...usedBy].sort(([a], [b]) => (a < b ? -1 : 1)))
}
